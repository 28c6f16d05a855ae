"""What works element by element takes an image as it was before its shape was changed, and its result is changed so.

    Transpose(last) -> Gelu -> Transpose(first)    =>    Gelu                            so with channels last in rows
    rows -> BatchNormalization -> Relu -> image    =>    BatchNormalization -> Relu      of an image of one row
    [n] -> Neg                                     =>    [n, 1] -> Neg -> [n]            one number is one channel

So what belongs to a convolution still follows it.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from .edit import is_op, source
from .nodes import Shape
from .ops import activation, batch_normalization, identity, prelu
from .ops.transpose import CHANNELS_FIRST, CHANNELS_LAST, image_behind, last_again, last_as_image, permuted
from .ranks import COMBINING
from .site import Array, Operand, Site, shape_of

ELEMENTWISE = {*activation.CONVERTERS, *COMBINING}
_PER_CHANNEL = {*batch_normalization.CONVERTERS, *prelu.CONVERTERS, *identity.CONVERTERS}

Operands = list[Operand | None]
Change = Callable[[ir.Value], ir.Value]


def as_images(site: Site) -> Change | None:
    """Let a node read its operands as they were; return what changes its result, None where they were no images."""
    op = site.op
    if not any(isinstance(operand, ir.Value) for operand in site.operands):
        return None
    if op in ELEMENTWISE:
        site.operands = _narrowed(site)
    operands = site.operands
    if op in ELEMENTWISE and all(_is_number(operand) for operand in operands):
        site.operands = [
            site.reshape(x, (1, 1), f"number{i}") if isinstance(x, ir.Value) else x
            for i, x in enumerate(operands)
        ]
        return lambda y: site.reshape(y, (1,), "number")
    if op in ELEMENTWISE and (change := _channels_first(site)) is not None:
        return change
    parameters = op in _PER_CHANNEL and not site.reads_unbatched
    if parameters or op in ELEMENTWISE:
        constant = (lambda array: array) if parameters and op != "PRelu" else _constant_image
        if (before := _each(operands, _image, constant)) is not None:
            site.operands = before
            return lambda y: site.reshape(y, _row(shape_of(y)), "row")
    return None


def _is_number(x: Operand | None) -> bool:
    """Tell whether an operand is one number per sample, without channels, or a constant that suits one."""
    return x is None or (shape_of(x) == (1,) if isinstance(x, ir.Value) else x.shape in ((), (1,)))


def _narrowed(site: Site) -> Operands:
    """Give what was repeated to the shape of another operand as it was before."""
    narrow = site.builder.narrow
    whole = [x for x in site.operands if x is not None and not (isinstance(x, ir.Value) and x in narrow)]
    shapes = {shape_of(x) if isinstance(x, ir.Value) else x.shape for x in whole}
    return [
        narrow[x] if isinstance(x, ir.Value) and x in narrow and shape_of(x) in shapes else x
        for x in site.operands
    ]


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


def _channels_first(site: Site) -> Change | None:
    """Let a node read the images that channels went last in: all of one size, or without rows and columns.

    What never was one becomes one where it is as large as another that was.
    """
    values = [x for x in site.operands if isinstance(x, ir.Value)]
    images = {x: image for x in values if (image := image_behind(x)) is not None}
    if not images:
        return None
    if len(images) == len(set(values)) and all(_first(shape_of(x)) == shape_of(y) for x, y in images.items()):
        before = _each(site.operands, images.get, _constant_first)
        if before is None:
            return None
        site.operands = before
        return lambda y: permuted(site, y, CHANNELS_LAST, "last")
    shape = max((shape_of(x) for x in values), key=lambda shape: (prod(shape), len(shape)))
    sizes = [shape_of(image) for x, image in images.items() if shape_of(x) == shape]
    size = max(sizes, key=lambda size: size[2], default=(1, 1, 1, 1))
    less = {x: fit for x in values if (fit := _less(shape_of(x), shape, size)) is not None}
    if not sizes or len(less) < len(set(values)):
        return None
    constants = _each(site.operands, lambda x: x, lambda array: _constant_like(array, shape, size))
    if constants is None:
        return None
    site.operands = [
        _sized(site, x, less[x], f"image{i}") if isinstance(x, ir.Value) else x
        for i, x in enumerate(constants)
    ]
    return lambda y: last_again(site, y, shape)


def _less(own: Shape, shape: Shape, size: Shape) -> Shape | None:
    """Give the image of something that has all of a shape, which is an image of a size, or no rows and columns, or a
    single channel; None where it is neither.
    """
    if own == shape:
        return size
    if len(own) <= len(shape) and prod(own[:-1]) == 1 and own[-1] in (1, shape[-1]):
        return (1, own[-1], 1, 1)
    return (1, 1, *size[2:]) if own == (*shape[:-1], 1) else None


def _sized(site: Site, x: ir.Value, size: Shape, step: str) -> ir.Value:
    return site.reshape(last_as_image(site, x, step), size, f"{step}.sized")


def _first(shape: Shape) -> Shape | None:
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else None


def _constant_first(array: Array) -> Array | None:
    if array.size == 1:
        return array
    if array.ndim > 4:
        return None
    return array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(CHANNELS_FIRST)


def _constant_like(array: Array, shape: Shape, size: Shape) -> Array | None:
    """Give a constant for rows of a shape, channels last, as one for images of a size."""
    if array.size == 1:
        return array
    if array.ndim > len(shape) or any(
        n not in (1, m) for n, m in zip(array.shape[::-1], shape[::-1], strict=False)
    ):
        return None
    if array.size == array.shape[-1]:
        return array.reshape(1, -1, 1, 1)
    return np.broadcast_to(array, shape).reshape(1, *size[2:], size[1]).transpose(CHANNELS_FIRST)


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
