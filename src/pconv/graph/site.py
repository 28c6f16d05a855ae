"""What an operator's converter works with: the source node it reads and the normalised graph it writes.

    source node  --Site-->  converter  --Site.emit-->  Builder (nodes, weights, unique names)

A converter sees each operand either as a value of the new graph (computed at run time) or as a numpy array
(known now), and returns the same: so a constant is nothing but a converter that returns an array.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..errors import ModelError, UnsupportedError
from .naming import unique
from .nodes import Shape
from .spec import DOMAIN, OPS, AttrValue

Array = NDArray[Any]
Operand = ir.Value | Array


def shape_of(value: ir.Value) -> Shape:
    """Give the static shape that every value of the new graph has."""
    assert value.shape is not None
    return value.shape.numpy()


class Builder:
    """Grow the new graph: append nodes, register weights, keep names unique."""

    def __init__(self, name: str, reserved: Sequence[str], source_batch: int, one_sample: bool) -> None:
        """Start an empty graph; `reserved` are names that only the source's own values may take.

        `source_batch` is the batch that an export froze, 1 where it is open; `one_sample` says that it froze 1.
        """
        self.graph = ir.Graph((), (), nodes=(), opset_imports={DOMAIN: 1}, name=name)
        self.source_batch = source_batch
        self.one_sample = one_sample
        self.narrow: dict[
            ir.Value, ir.Value
        ] = {}  # what was spread to a value of one shape and one column, before
        self._reserved = set(reserved)
        self._values: set[str] = set()
        self._nodes: set[str] = set()

    def add_input(self, name: str, shape: Shape) -> ir.Value:
        """Declare a graph input."""
        value = self._value(name, shape)
        self.graph.inputs.append(value)
        return value

    def emit(
        self,
        op: str,
        tensors: Sequence[ir.Value],
        weights: Sequence[tuple[str, Array]],
        shape: Shape,
        attrs: Mapping[str, AttrValue],
        *,
        node: str,
        output: str,
    ) -> ir.Value:
        """Append one node; weights come after the tensors and are stored as float32."""
        node = unique(node, self._nodes)
        constants = [self._weight(f"{node}.{kind}", array) for kind, array in weights]
        value = self._value(output, shape)
        defaults = OPS[op].attrs if op in OPS else {}
        attributes = ir.convenience.convert_attributes({**defaults, **attrs})
        self.graph.append(
            ir.Node(DOMAIN, op, [*tensors, *constants], attributes=attributes, outputs=[value], name=node)
        )
        return value

    def rename(self, value: ir.Value, node: str, output: str) -> None:
        """Give a value and the node that computes it other names."""
        producer = value.producer()
        assert producer is not None
        producer.name, value.name = unique(node, self._nodes), unique(output, self._values)

    def fresh(self, base: str) -> str:
        """Make a value name that no value of the source has."""
        return unique(base, self._reserved)

    def _value(self, name: str, shape: Shape) -> ir.Value:
        name = unique(name, self._values)
        return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))

    def _weight(self, name: str, array: Array) -> ir.Value:
        name = self.fresh(name)
        with np.errstate(over="ignore"):  # infinite weights are refused by check_normalised, with a message
            tensor = ir.Tensor(np.asarray(array, dtype=np.float32), name=name)
        value = ir.Value(
            name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.graph.initializers.add(value)
        return value


class Site:
    """One source node under conversion."""

    def __init__(
        self,
        node: ir.Node,
        name: str,
        operands: Sequence[Operand | None],
        types: Sequence[ir.DataType | None],
        opset: int,
        builder: Builder,
        reads_unbatched: bool,
    ) -> None:
        """Look at a node; `operands` stand for its inputs, `types` are those that the source gives these.

        `reads_unbatched` says that the source has no batch in them: its axis 0 is our axis 1 (see `batches.py`).
        """
        self.node = node
        self.operands: Sequence[Operand | None] = operands
        self.types = types
        self.opset = opset
        self.builder = builder
        self.op = node.op_type
        self.output = node.outputs[0].name or ""
        self.name = name
        self.reads_unbatched = reads_unbatched
        self.drops_batch: Literal["", "here", "in outputs"] | None = None

    # What is wrong with the node

    def unsupported(self, problem: str, allowed: str, step: str = "") -> UnsupportedError:
        """Make the error that names node, operator, problem, what is allowed, and the next step."""
        step = step or "Change the model before the export, or compile the part without this node."
        return UnsupportedError(f"{self.name} ({self.op}): {problem}; allowed: {allowed}. {step}")

    def mixed(self, shape: Sequence[int]) -> UnsupportedError:
        """Make the error for a node after which the first dimension is no batch."""
        return self.unsupported(
            f"one sample becomes {list(shape)}, so it mixes or drops the batch",
            "a first dimension of 1 per sample",
        )

    def malformed(self, problem: str) -> ModelError:
        """Make the error for a node that no ONNX runtime could execute."""
        return ModelError(
            f"{self.name} ({self.op}): {problem}. The model is not valid ONNX: export it again."
        )

    # Operands

    def operand(self, i: int) -> Operand | None:
        """Give an operand, None where it is absent."""
        return self.operands[i] if i < len(self.operands) else None

    def tensor(self, i: int = 0, *, rank: int | None = None) -> ir.Value:
        """Give an operand that is computed at run time."""
        operand = self.operand(i)
        if operand is None:
            raise self.malformed(f"input {i} is missing")
        if not isinstance(operand, ir.Value):
            raise self.unsupported(f"input {i} is a constant", "an activation computed at run time")
        if rank is not None and len(shape_of(operand)) != rank:
            want = "[n, c, h, w]" if rank == 4 else "[n, k]"
            raise self.unsupported(
                f"its input has shape {list(shape_of(operand))}", f"{rank} dimensions {want}"
            )
        return operand

    def image(self) -> ir.Value:
        """Give the first operand as an image; rows [n, c, l] become [n, c, 1, l].

        Of several images, which have no batch, planes [1, n * c, h, w].
        """
        shape = shape_of(self.tensor())
        if self.reads_unbatched and len(shape) in (4, 5):
            rows = shape[3:-1] or (1,)
            return self.reshape(self.tensor(), (1, shape[1] * shape[2], *rows, shape[-1]), step="image")
        if len(shape) != 3:
            return self.tensor(rank=4)
        return self.reshape(self.tensor(), (*shape[:2], 1, shape[2]), step="image")

    def like_operand(self, image: ir.Value) -> ir.Value:
        """Make rows of an image again, where the first operand is rows; or several images."""
        before, after = shape_of(self.tensor()), shape_of(image)
        if self.reads_unbatched:
            shape = (*before[:3], *after[2 if len(before) == 5 else 3 :])
        elif len(before) == 4:
            return image
        else:
            shape = (*after[:2], after[3])
        return self.named(image, self.reshape(image, shape, step="row"))

    def named(self, before: ir.Value, after: ir.Value) -> ir.Value:
        """Give a value the name of the node's output, where what it was made of has it."""
        if before.name == self.output:
            before.name, after.name = after.name, before.name
        return after

    def either(self, i: int, shape: Shape | None = None) -> ir.Value:
        """Give an operand that is computed or constant; a constant is brought to a shape, and stays in memory.

        One that is wider than the shape keeps its sizes.
        """
        operand = self.operand(i)
        if operand is None or isinstance(operand, ir.Value):
            return self.tensor(i)
        if shape is not None and operand.ndim <= len(shape):
            aligned = (1,) * (len(shape) - operand.ndim) + operand.shape
            if any(size > 1 and full == 1 for size, full in zip(aligned, shape, strict=True)):
                shape = aligned
        return self.constant_value(operand, operand.shape if shape is None else shape, f"constant{i}")

    def constant_value(self, operand: Array, shape: Shape, step: str = "constant") -> ir.Value:
        """Append a constant that stays in memory, brought to a shape."""
        try:
            array = np.broadcast_to(operand, shape)
        except ValueError:
            raise self.unsupported(
                f"a constant of shape {list(operand.shape)} with an activation {list(shape)}",
                "one that has at most the activation's sizes",
            ) from None
        return self.emit("Constant", [], array.shape, weights=[("value", array)], step=step)

    def constant(self, i: int) -> Array | None:
        """Give an operand whose values are known now, None where it is absent."""
        operand = self.operand(i)
        if isinstance(operand, ir.Value):
            raise self.unsupported(
                f"input {i} is computed at run time",
                "a constant",
                "Export the model with fixed weights and shapes.",
            )
        return operand

    def weight(self, i: int) -> Array:
        """Give a constant operand that has to be there."""
        array = self.constant(i)
        if array is None:
            raise self.malformed(f"input {i} is missing")
        if not array.size:
            raise self.unsupported(f"input {i} has shape {list(array.shape)}", "sizes of at least 1")
        return array

    def per_channel(self, constant: Array, shape: Shape) -> Array | None:
        """Broadcast a constant to one float64 value per channel of an activation's shape; None where it has others."""
        padded = (1,) * (len(shape) - constant.ndim) + constant.shape
        if len(shape) < 2 or padded not in ((1,) * len(shape), (1, shape[1]) + (1,) * (len(shape) - 2)):
            return None
        return np.broadcast_to(constant.reshape(-1), shape[1]).astype(np.float64)

    # Attributes

    def attr(self, name: str, default: Any = None) -> Any:
        """Give an attribute as a plain Python value."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        value = attribute.value
        return tuple(value) if isinstance(value, (list, tuple)) else value

    def ints(self, name: str, i: int) -> tuple[int, ...] | None:
        """Give integers, or one, that newer opsets pass as input `i` and older ones as an attribute."""
        values = self.attr(name)
        values = self.constant(i) if values is None else values
        return None if values is None else tuple(int(value) for value in np.ravel(values))

    def axis(self, value: int, rank: int) -> int:
        """Resolve an axis that may count from the end, of a value that has `rank` dimensions here."""
        return self.source_axis(value, rank - self.reads_unbatched) + self.reads_unbatched

    def source_axis(self, value: int, rank: int) -> int:
        """Resolve an axis that may count from the end, of a value that has `rank` dimensions in the source."""
        if not -rank <= value < rank:
            raise self.malformed(f"axis {value} is outside of {rank} dimensions")
        return value % rank

    # Results

    def emit(
        self,
        op: str,
        tensors: Sequence[ir.Value],
        shape: Sequence[int],
        *,
        weights: Sequence[tuple[str, Array]] = (),
        step: str = "",
        **attrs: AttrValue,
    ) -> ir.Value:
        """Append a normalised node; `step` names one that is not the last of this source node."""
        if not shape or shape[0] != 1:
            raise self.mixed(shape)
        node = f"{self.name}.{step}" if step else self.name
        output = self.builder.fresh(f"{self.output}.{step}") if step else self.output
        return self.builder.emit(op, tensors, weights, tuple(shape), attrs, node=node, output=output)

    def scaled(self, value: ir.Value, scale: float, shift: float = 0.0, step: str = "") -> ir.Value:
        """Append value * scale + shift, with the same numbers for all channels."""
        shape = shape_of(value)
        weights = [("scale", np.full(shape[1], scale)), ("shift", np.full(shape[1], shift))]
        return self.emit("Affine", [value], shape, weights=weights, step=step)

    def reshape(self, value: ir.Value, shape: Sequence[int], step: str = "") -> ir.Value:
        """Append a Flatten, unless the shape is right already."""
        if tuple(shape) == shape_of(value):
            return value
        return self.emit("Flatten", [value], shape, step=step)

    def shaped(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """Give a result the shape that the source gives it. Where that does not begin with 1, it has no batch any more.

        Only models for one sample have such values; here they get the 1 back (see `batches.py`).
        """
        if tuple(shape[:1]) == (1,):
            self.drops_batch = ""
            return self.reshape(value, shape)
        if self.builder.source_batch != 1:
            raise self.mixed(shape)
        self.drops_batch = "here"
        return self.reshape(value, (1, *shape))

    def last(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """Give what the steps of this node computed its shape, and the node's own name to the last of them."""
        if tuple(shape) != shape_of(value):
            return self.reshape(value, shape)
        self.builder.rename(value, self.name, self.output)
        return value

    def cut(self, value: ir.Value, axis: int, taken: range, step: str = "") -> ir.Value:
        """Append what takes some positions of an axis: a Subsample of an image, which anything can be made."""
        shape = list(shape_of(value))
        if taken == range(shape[axis]):
            return value
        direct = len(shape) == 4 and (axis > 1 or taken.step == 1)
        before, after = shape[1:axis], shape[axis + 1 :]
        if not direct:
            image = (1, prod(before), shape[axis], prod(after))
            value = self.reshape(value, image, step=f"{step or 'cut'}.image")
        starts, steps, sizes = [0, 0, 0], [1, 1, 1], list(shape_of(value)[1:])
        at = axis - 1 if direct else 1
        starts[at], steps[at], sizes[at] = taken.start, taken.step, len(taken)
        last = step if direct else f"{step or 'cut'}.taken"
        value = self.emit(
            "Subsample",
            [value],
            (1, *sizes),
            step=last,
            starts=tuple(starts),
            steps=tuple(steps[1:]),
            sizes=tuple(sizes),
        )
        return self.reshape(value, [1, *before, len(taken), *after], step=step)

    def swap(self, value: ir.Value, axis: int, step: str = "") -> ir.Value:
        """Append a Transpose that swaps an axis with that of the channels, unless it is that."""
        if axis == 1:
            return value
        shape, perm = list(shape_of(value)), list(range(len(shape_of(value))))
        for order in (shape, perm):
            order[1], order[axis] = order[axis], order[1]
        return self.emit("Transpose", [value], shape, step=step, perm=tuple(perm))
