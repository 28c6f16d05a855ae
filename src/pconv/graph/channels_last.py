"""What works element by element on an image whose channels come last works on one whose channels come first.

Transpose(last) -> Gelu -> Transpose(first)    =>    Gelu
"""

from collections.abc import Sequence

import onnx_ir as ir

from .edit import ints, is_op, source
from .ops import activation, arithmetic
from .ops.transpose import CHANNELS_FIRST, CHANNELS_LAST
from .site import Operand

_ELEMENTWISE = {*activation.CONVERTERS, *arithmetic.CONVERTERS}


def channels_first(node: ir.Node, operands: Sequence[Operand | None]) -> list[Operand | None] | None:
    """Give a node's operands as they were before their channels went last; None where they did not, or it matters."""
    if node.op_type not in _ELEMENTWISE or not any(isinstance(operand, ir.Value) for operand in operands):
        return None
    moved = [_moved(operand) for operand in operands if operand is not None]
    if any(operand is None for operand in moved):
        return None
    rest = iter(moved)
    return [None if operand is None else next(rest) for operand in operands]


def _moved(operand: Operand) -> Operand | None:
    if not isinstance(operand, ir.Value):
        if operand.size == 1:
            return operand
        if operand.ndim > 4:
            return None
        return operand.reshape((1,) * (4 - operand.ndim) + operand.shape).transpose(CHANNELS_FIRST)
    producer = operand.producer()
    if producer is None or not is_op(producer, "Transpose") or ints(producer, "perm") != CHANNELS_LAST:
        return None
    return source(producer)
