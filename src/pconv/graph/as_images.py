"""What works element by element takes an image as it was before its shape was changed, and its result is changed so.

    Transpose(last) -> Gelu -> Transpose(first)    =>    Gelu
    rows -> BatchNormalization -> Relu -> image    =>    BatchNormalization -> Relu      of an image of one row

So what belongs to a convolution still follows it.
"""

from collections.abc import Callable, Sequence

import onnx_ir as ir

from .edit import ints, is_op, source
from .nodes import Shape
from .ops import (
    activation,
    arithmetic,
    batch_normalization,
    comparison,
    extremes,
    identity,
    logic,
    prelu,
    where,
)
from .ops.transpose import CHANNELS_FIRST, CHANNELS_LAST, permuted
from .site import Array, Operand, Site, shape_of

ELEMENTWISE = {
    op for room in (activation, arithmetic, comparison, extremes, logic, where) for op in room.CONVERTERS
}
_PER_CHANNEL = {*batch_normalization.CONVERTERS, *prelu.CONVERTERS, *identity.CONVERTERS}

Operands = list[Operand | None]
Change = Callable[[Site, ir.Value], ir.Value]


def as_images(node: ir.Node, operands: Sequence[Operand | None]) -> tuple[Operands, Change] | None:
    """Give a node's operands as they were before, and what changes its result; None where they were no images."""
    if not any(isinstance(operand, ir.Value) for operand in operands):
        return None
    if node.op_type in ELEMENTWISE and (before := _each(operands, _first, _constant_first)) is not None:
        return before, lambda site, y: permuted(site, y, CHANNELS_LAST, "last")
    parameters = node.op_type in _PER_CHANNEL
    if parameters or node.op_type in ELEMENTWISE:
        constant = (lambda array: array) if parameters and node.op_type != "PRelu" else _constant_image
        if (before := _each(operands, _image, constant)) is not None:
            return before, lambda site, y: site.reshape(y, _row(shape_of(y)), "row")
    return None


def _each(
    operands: Sequence[Operand | None],
    value: Callable[[ir.Value], ir.Value | None],
    constant: Callable[[Array], Array | None],
) -> Operands | None:
    moved: Operands = []
    for operand in operands:
        found = (
            None
            if operand is None
            else value(operand)
            if isinstance(operand, ir.Value)
            else constant(operand)
        )
        if found is None and operand is not None:
            return None
        moved.append(found)
    return moved


def _first(value: ir.Value) -> ir.Value | None:
    """Give what was transposed to channels last."""
    producer = value.producer()
    if producer is None or not is_op(producer, "Transpose") or ints(producer, "perm") != CHANNELS_LAST:
        return None
    return source(producer)


def _constant_first(array: Array) -> Array | None:
    if array.size == 1:
        return array
    if array.ndim > 4:
        return None
    return array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(CHANNELS_FIRST)


def _image(value: ir.Value) -> ir.Value | None:
    """Give the image of one row that rows [n, c, l] were."""
    producer = value.producer()
    if producer is None or not is_op(producer, "Flatten"):
        return None
    before = shape_of(source(producer))
    fits = len(before) == 4 and before[2] == 1 and _row(before) == shape_of(value)
    return source(producer) if fits else None


def _constant_image(array: Array) -> Array | None:
    """Give a constant another dimension before the last, where it has two and more."""
    return (
        array.reshape(*array.shape[:-1], 1, array.shape[-1])
        if 2 <= array.ndim <= 3
        else array
        if array.ndim < 2
        else None
    )


def _row(image: Shape) -> Shape:
    return (*image[:2], image[3])
