"""A model as any engine can read it: float32, one sample, every size of its inputs and outputs known, no two nodes of
one name.

    x [N, 3, h, w] float16, weights float16    -->    x [1, 3, 320, 320] float32, weights float32

pconv computes that whatever the file says; other engines take a file at its word.
"""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from .naming import node_names, unique
from .normalise import normalise
from .shapes import OTHER_FLOATS


def is_plain(model: ir.Model) -> bool:
    """Tell whether a model is that already."""
    ends = [*_computed_inputs(model.graph), *model.graph.outputs]
    sizes = [(None,) if value.shape is None else tuple(value.shape) for value in ends]
    fixed = all(isinstance(size, int) and size > 0 for shape in sizes for size in shape)
    single = all(shape[:1] == (1,) for shape in sizes)
    floats = not any(value.dtype in OTHER_FLOATS for value in _values(model.graph))
    return fixed and single and floats and not _namesakes(model.graph)


def plain(model: ir.Model) -> ir.Model:
    """Make it that; the model that was given stays as it is.

    Raises: ModelError, UnsupportedError where pconv cannot compile the model, or a size is not known.
    """
    made: ir.Model = model.clone()
    known = normalise(model).graph
    ends = zip(
        [*_computed_inputs(made.graph), *made.graph.outputs], [*known.inputs, *known.outputs], strict=True
    )
    for value in _values(made.graph):
        if value.producer() is not None:
            value.shape = None  # of another batch, maybe
        if value.dtype in OTHER_FLOATS:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        if value.is_initializer() and value.const_value is not None:
            value.const_value = _widened(value.const_value)
    for node in made.graph:
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.TENSOR:
                widened = _widened(attribute.value)
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, widened)
            elif (node.op_type, attribute.name) == ("Cast", "to") and attribute.value in OTHER_FLOATS:
                node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT)
    for value, fixed in ends:
        value.shape = fixed.shape
        value.type = fixed.type
    _tell_apart(made.graph)
    return made


def _tell_apart(graph: ir.Graph) -> None:
    """Name nodes of a name that an earlier one has as recipes and reports do."""
    names, taken = node_names(graph), {node.name or "" for node in graph}
    for node in _namesakes(graph):
        node.name = unique(names[node], taken)


def _namesakes(graph: ir.Graph) -> list[ir.Node]:
    """List the nodes that have the name of an earlier one."""
    first: dict[str, ir.Node] = {}
    return [node for node in graph if node.name and first.setdefault(node.name, node) is not node]


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if tensor.dtype not in OTHER_FLOATS:
        return tensor
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _computed_inputs(graph: ir.Graph) -> list[ir.Value]:
    return [value for value in graph.inputs if value.name not in graph.initializers]


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
