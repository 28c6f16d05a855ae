"""The types of a source model's values. In memory all are floats, which hold whole numbers up to 2 to the 24 exactly.

    ArgMax -> INT64    Greater -> BOOL    Cast -> what it says    any other operator -> that of what it reads

So an operator may read integers where it does with floats of their values what it does with them.
"""

from collections.abc import Sequence

import onnx_ir as ir

from ..errors import UnsupportedError
from .ops import arg_max, comparison, logic
from .shapes import FLOATS
from .site import Operand

FLOAT, BOOL, INT32, INT64 = ir.DataType.FLOAT, ir.DataType.BOOL, ir.DataType.INT32, ir.DataType.INT64

_TRUTHS = {*comparison.CONVERTERS, *logic.CONVERTERS}
_MOVES = {
    *("Cast", "Dropout", "Identity", "Shape", "Size", "Where", *arg_max.CONVERTERS, "TopK"),
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Reshape", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    *("Max", "Min", "ReduceMax", "ReduceMin"),
}
_COUNTS = {"Abs", "Add", "Mul", "Neg", "ReduceSum", "Sub", "Sum"}
"""What may leave the range of a type; floats count further than narrow ones, and not as far as the wide ones."""


class Types:
    """What is known of the types so far; what was never noted is a float."""

    def __init__(self) -> None:
        """Know nothing."""
        self._noted: dict[ir.Value, ir.DataType] = {}

    def of(self, value: ir.Value) -> ir.DataType:
        """Give the type of a value that is computed at run time."""
        return self._noted.get(value, FLOAT)

    def same(self, value: ir.Value, other: ir.Value) -> None:
        """Note that one value is another."""
        self._noted[value] = self.of(other)

    def read(self, node: ir.Node, operands: Sequence[Operand | None]) -> list[ir.DataType | None]:
        """Give the types of what a node reads, None for what is absent."""
        return [
            None
            if value is None or operand is None
            else self.of(value)
            if isinstance(operand, ir.Value)
            else _float_or_not(ir.DataType.from_numpy(operand.dtype))
            for value, operand in zip(node.inputs, operands, strict=True)
        ]

    def check(self, node: ir.Node, name: str, operands: Sequence[Operand | None]) -> None:
        """Check what a node reads at run time.

        Raises: UnsupportedError where it does with integers what it does not do with floats.
        """
        for value, operand in zip(node.inputs, operands, strict=True):
            if value is None or not isinstance(operand, ir.Value):
                continue
            kind = self.of(value)
            op, counts = node.op_type, kind in (INT32, INT64)
            if kind != FLOAT and not (op in _MOVES or op in _TRUTHS or (op in _COUNTS and counts)):
                raise UnsupportedError(
                    f"{name} ({op}): it computes with {kind.name}; allowed: float types"
                    f"{', INT32 and INT64' if op in _COUNTS else ''}. Cast before it in the model, or leave this to "
                    "the application."
                )

    def note(self, node: ir.Node, read: Sequence[ir.DataType | None]) -> None:
        """Note the types of a node's outputs, from those of what it reads."""
        op, operands = node.op_type, read[1:] if node.op_type == "Where" else read
        kind = next((kind for kind in operands if kind is not None), FLOAT)
        if op in arg_max.CONVERTERS:
            kind = INT64
        elif op in _TRUTHS:
            kind = BOOL
        elif op == "Cast":
            kind = _float_or_not(ir.DataType(node.attributes["to"].as_int()))
        self._noted.update(dict.fromkeys(node.outputs, kind))
        if op == "TopK":
            self._noted[node.outputs[1]] = INT64


def _float_or_not(kind: ir.DataType) -> ir.DataType:
    return FLOAT if kind in FLOATS else kind
