"""A plain view of the normalised graph: all that the lowering reads.

Owns no logic and no onnx types: names, tuples, numbers and numpy arrays. Every attribute of an operator is
present (see `spec.OPS` for names and defaults), every shape is static with batch 1, nodes stand in an order
in which they can run, and every name is unique.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .spec import OPS, Attrs, AttrValue

if TYPE_CHECKING:
    import onnx_ir as ir

Shape = tuple[int, ...]


def is_image(shape: Shape) -> bool:
    """Tell whether a value is [1, c, h, w]; all else is rows."""
    return len(shape) == 4 and shape[0] == 1


@dataclass(frozen=True, slots=True, eq=False)
class NodeView:
    """One operator of the normalised graph.

    `inputs` are value names by position; those at the positions of `weights` are initialisers. `shapes` has
    every input and the output; `weights` are contiguous, read-only float32.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    shapes: Mapping[str, Shape]
    attrs: Mapping[str, AttrValue]
    weights: Mapping[int, NDArray[np.float32]]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Name the inputs that are computed at run time, in order."""
        return tuple(name for i, name in enumerate(self.inputs) if i not in self.weights)

    @property
    def in_shape(self) -> Shape:
        """Give the shape of the first input."""
        return self.shapes[self.inputs[0]]

    @property
    def out_shape(self) -> Shape:
        """Give the shape of the output."""
        return self.shapes[self.output]

    @property
    def residual(self) -> str | None:
        """Name the tensor that a Conv adds before its activation, if any."""
        return self.inputs[3] if self.op == "Conv" and len(self.inputs) == 4 else None

    def ints(self, attr: str) -> tuple[int, ...]:
        """Give a list attribute."""
        value = self.attrs[attr]
        assert isinstance(value, tuple)
        return value

    def integer(self, attr: str) -> int:
        """Give an integer attribute."""
        value = self.attrs[attr]
        assert isinstance(value, int)
        return value

    def number(self, attr: str) -> float:
        """Give a float attribute."""
        value = self.attrs[attr]
        assert isinstance(value, float)
        return value

    def text(self, attr: str) -> str:
        """Give a text attribute."""
        value = self.attrs[attr]
        assert isinstance(value, str)
        return value


@dataclass(frozen=True, slots=True, eq=False)
class GraphView:
    """A normalised model: its inputs and outputs by name, its nodes in order, the shape of every value.

    `types` has each output that the source does not call a float, by numpy's name: "int64", "bool".
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[NodeView, ...]
    shapes: Mapping[str, Shape]
    metadata: Mapping[str, str]
    types: Mapping[str, str] = field(default_factory=dict)


def view(model: "ir.Model") -> GraphView:
    """View a model that `normalise` returned."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values(), *(node.outputs[0] for node in graph)]
    shapes = {_name(value): _shape(value) for value in values}
    return GraphView(
        name=graph.name or "model",
        inputs=tuple(_name(value) for value in graph.inputs),
        outputs=tuple(_name(value) for value in graph.outputs),
        nodes=tuple(_view_node(node, shapes) for node in graph),
        shapes=MappingProxyType(shapes),
        metadata=MappingProxyType(dict(model.metadata_props)),
        types=MappingProxyType(
            {
                _name(value): value.dtype.numpy().name
                for value in graph.outputs
                if value.dtype is not None and not value.dtype.is_floating_point()
            }
        ),
    )


def _view_node(node: "ir.Node", shapes: Mapping[str, Shape]) -> NodeView:
    operands = [value for value in node.inputs if value is not None]
    attrs: Attrs = {name: _plain(attr.value) for name, attr in node.attributes.items()}
    weights = {i: _weight(v.const_value.numpy()) for i, v in enumerate(operands) if v.const_value is not None}
    names = tuple(_name(value) for value in operands)
    output = _name(node.outputs[0])
    return NodeView(
        name=node.name or output,
        op=node.op_type,
        inputs=names,
        output=output,
        shapes=MappingProxyType({name: shapes[name] for name in (*names, output)}),
        attrs=MappingProxyType(dict(OPS[node.op_type].attrs) | attrs),
        weights=MappingProxyType(weights),
    )


def _plain(value: Any) -> AttrValue:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _weight(array: NDArray[Any]) -> NDArray[np.float32]:
    frozen = np.ascontiguousarray(array, dtype=np.float32).view()
    frozen.flags.writeable = False
    return frozen


def _name(value: "ir.Value") -> str:
    assert value.name is not None
    return value.name


def _shape(value: "ir.Value") -> Shape:
    assert value.shape is not None
    return value.shape.numpy()
