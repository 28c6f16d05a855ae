"""Values that have no batch, as their model has it: [128, 1] for the scores of one sample. Inside they are [1, 128, 1].

    Reshape(-1, 1) -> Sigmoid -> output    =>    Flatten [1, 128, 1] -> Sigmoid -> Flatten [128, 1]

What works element by element keeps that, and what works along an axis, which is one further here; a change of shape may
bring the batch back. So do convolutions and pools of windows [n, c, h, w]. Anything else is refused. A Squeeze of all
that is 1 is an exception: what it leaves is read as if the batch was there, and only an output loses it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from ..errors import UnsupportedError
from .as_images import ELEMENTWISE
from .ops import arg_max, global_pool, identity, pool, reduce, reshape, softmax
from .ranks import COMBINING
from .site import Operand, shape_of

Drop = Literal["", "here", "in outputs"]

_ALIKE = {*ELEMENTWISE, *identity.CONVERTERS}
_ALONG = {
    *("Gather", "Slice", "Split", "TopK"),
    *(*softmax.CONVERTERS, *arg_max.CONVERTERS, *reduce.CONVERTERS, *reshape.CONVERTERS),
}
_ROWS = {"Gemm", "MatMul", *softmax.CONVERTERS}
_LAST = {"BatchNormalization", "Gemm", "LayerNormalization", "MatMul", "Shape", "Size", "Transpose"}
"""Operators of what comes last, or of all dimensions."""
_IMAGES = {"Conv", "Einsum", "Expand", "Pad", "Tile", *global_pool.CONVERTERS, *pool.CONVERTERS}
"""Operators of several images, as the windows of attention are."""

_TOGETHER = {"Concat", "Einsum", "MatMul"}
"""Operators, beside those that work element by element, of what has a batch and what has none."""


class Batches:
    """What is known of the values that have none so far."""

    def __init__(self) -> None:
        """Know nothing."""
        self._dropped: dict[ir.Value, Drop] = {}

    def lacks(self, value: ir.Value) -> bool:
        """Tell whether a value has no batch in the model."""
        return value in self._dropped

    def same(self, value: ir.Value, other: ir.Value) -> None:
        """Note that one value is another."""
        if other in self._dropped:
            self._dropped[value] = self._dropped[other]

    def inherited(self, node: ir.Node, name: str, operands: Sequence[Operand | None]) -> Drop:
        """Tell whether what a node gives has no batch, by what it reads.

        Raises: UnsupportedError where it could count the dimensions of a value without a batch.
        """
        read = list(zip(node.inputs, operands, strict=True))
        computed = [value for value, operand in read if value is not None and isinstance(operand, ir.Value)]
        kinds = {self._dropped.get(value, "") for value in computed}
        mixed = kinds == {"here", ""}
        rank = max(
            (
                len(shape_of(operand)) + (mixed and value is not None and not self.lacks(value))
                for value, operand in read
                if isinstance(operand, ir.Value)
            ),
            default=0,
        )
        constants = [operand for _, operand in read if isinstance(operand, np.ndarray)]
        narrow = all(operand.ndim < rank for operand in constants)
        single = all(operand.size == 1 for operand in constants)
        if "here" not in kinds:
            return "in outputs" if kinds == {"in outputs"} and node.op_type in _ALIKE | _ROWS else ""
        alike = (node.op_type in _ALIKE and narrow) or (node.op_type == "Concat" and single)
        if kinds == {"here"} and (alike or node.op_type in _ALONG | _LAST | _IMAGES):
            return "here"
        if mixed and ((node.op_type in COMBINING and narrow) or node.op_type in _TOGETHER):
            return "here"
        raise UnsupportedError(
            f"{name} ({node.op_type}): it reads what has no batch any more; allowed: operators that work element by "
            "element, along an axis or on images, and outputs. Keep the batch as the first dimension up to the outputs."
        )

    def batched(self, node: ir.Node, operands: Sequence[Operand | None]) -> list[int]:
        """Give the operands that have a batch, of a node that reads some without."""
        read = enumerate(zip(node.inputs, operands, strict=True))
        return [
            i
            for i, (value, x) in read
            if value is not None and isinstance(x, ir.Value) and not self.lacks(value)
        ]

    def note(self, node: ir.Node, dropped: Drop) -> None:
        """Note it of a node's outputs, "" where they have one."""
        if dropped:
            self._dropped.update(dict.fromkeys(node.outputs, dropped))
