"""The few edits that fusions are made of."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from .naming import unique
from .site import Array, shape_of
from .spec import DOMAIN, OPS, AttrValue


def is_op(node: ir.Node | None, *ops: str) -> bool:
    """Tell whether a node exists and is one of the given normalised operators."""
    return node is not None and node.domain == DOMAIN and node.op_type in ops


def sole_consumer(node: ir.Node) -> ir.Node | None:
    """Give the node that alone uses this node's output, once; None if it is also a graph output."""
    value = node.outputs[0]
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def get(node: ir.Node, attr: str) -> object:
    """Give an attribute as a plain value."""
    value = node.attributes[attr].value
    return tuple(value) if isinstance(value, (list, tuple)) else value


def ints(node: ir.Node, attr: str) -> tuple[int, ...]:
    """Give a list attribute."""
    return tuple(node.attributes[attr].value)


def put(node: ir.Node, **attrs: int | float | str | tuple[int, ...]) -> None:
    """Set attributes."""
    for attribute in ir.convenience.convert_attributes(attrs):
        node.attributes[attribute.name] = attribute


def weight(node: ir.Node, i: int) -> Array:
    """Give a weight by its input position."""
    value = node.inputs[i]
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def set_weight(node: ir.Node, i: int, array: Array) -> None:
    """Replace a weight, whose shape may be another; every weight has one user."""
    value = node.inputs[i]
    assert value is not None and value.name is not None
    value.const_value, value.shape = ir.Tensor(array, name=value.name), ir.Shape(array.shape)


def source(node: ir.Node, i: int = 0) -> ir.Value:
    """Give an input that is computed at run time."""
    value = node.inputs[i]
    assert value is not None
    return value


def line_of(node: ir.Node) -> tuple[float, float] | None:
    """Give scale and shift of an Affine that has one of each for all channels, and no activation."""
    if not is_op(node, "Affine") or get(node, "activation") != "none":
        return None
    scale, shift = weight(node, 1), weight(node, 2)
    alike = bool((scale == scale[0]).all() and (shift == shift[0]).all())
    return (float(scale[0]), float(shift[0])) if alike else None


def factor_of(node: ir.Node) -> float:
    """Give what a node multiplies by, if it does nothing else; else 0."""
    found = line_of(node)
    return found[0] if found and found[1] == 0 else 0.0


def make_node(
    graph: ir.Graph,
    op: str,
    name: str,
    tensors: Sequence[ir.Value],
    shape: Sequence[int],
    weights: Mapping[str, Array] | None = None,
    **attrs: AttrValue,
) -> ir.Node:
    """Make a node, which is still to be inserted; weights come after the tensors, and attributes have defaults.

    Where the name is taken, it gets a number.
    """
    inputs, name = list(tensors), unique(name, {node.name or "" for node in graph})
    values = [*graph.inputs, *graph.initializers.values(), *(node.outputs[0] for node in graph)]
    output = unique(f"{name}.out", {value.name or "" for value in values})
    for kind, array in (weights or {}).items():
        tensor = ir.Tensor(np.asarray(array, np.float32), name=f"{name}.{kind}")
        inputs.append(_value(tensor.name, array.shape, tensor))
        graph.initializers.add(inputs[-1])
    attributes = ir.convenience.convert_attributes({**OPS[op].attrs, **attrs})
    return ir.Node(DOMAIN, op, inputs, attributes, outputs=[_value(output, shape)], name=name)


def _value(name: str | None, shape: Sequence[int], tensor: ir.TensorProtocol | None = None) -> ir.Value:
    kind = ir.TensorType(ir.DataType.FLOAT)
    return ir.Value(name=name, shape=ir.Shape(shape), type=kind, const_value=tensor)


def detach(node: ir.Node) -> None:
    """Remove a node that nothing uses, and the weights that only it used."""
    graph = node.graph
    assert graph is not None
    weights = [value for value in node.inputs if value is not None and value.is_initializer()]
    graph.remove(node, safe=True)
    for value in weights:
        if value.name is not None and not value.uses():
            graph.initializers.pop(value.name)


def absorb(node: ir.Node, follower: ir.Node) -> None:
    """Let a node produce what its follower produced (name and shape included); remove the follower."""
    graph, value, old = node.graph, node.outputs[0], follower.outputs[0]
    assert graph is not None
    name, shape = old.name, shape_of(old)
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    detach(follower)
    value.name, value.shape, value.type = name, ir.Shape(shape), old.type


def bypass(node: ir.Node) -> None:
    """Remove a node and let its users read its input; for nodes that are no graph output."""
    node.outputs[0].replace_all_uses_with(source(node))
    detach(node)
