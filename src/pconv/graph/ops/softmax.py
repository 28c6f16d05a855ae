"""Softmax, LogSoftmax, along any axis but the batch.

LogSoftmax is d - log(sum(exp(d))) of what is below the largest, d = x - max(x), along channels: another axis is brought
there and back.
"""

from math import prod

import onnx_ir as ir

from ..edit import ints, is_op, source
from ..nodes import Shape
from ..site import Operand, Site, shape_of
from .reduce import largest, over_channels
from .transpose import permuted


def softmax(site: Site) -> Operand:
    """Convert Softmax; a Transpose before it goes behind it, where it may meet another."""
    x, (shape, axis) = site.tensor(), _axis(site)
    before = x.producer()
    if shape == shape_of(x) and before is not None and is_op(before, "Transpose"):
        order, moved = ints(before, "perm"), source(before)
        y = site.emit("Softmax", [moved], shape_of(moved), step="moved", axis=order[axis])
        return permuted(site, y, order)
    rows = site.reshape(x, shape, "rows")
    y = site.emit("Softmax", [rows], shape, step="" if rows is x else "softmax", axis=axis)
    return site.reshape(y, shape_of(x))


def log_softmax(site: Site) -> Operand:
    """Convert LogSoftmax."""
    x, (shape, axis) = site.tensor(), _axis(site)
    swapped = site.swap(site.reshape(x, shape, "rows"), axis, "swap")
    image = shape_of(swapped)
    if len(image) not in (2, 4):
        swapped = site.reshape(swapped, (1, image[1], prod(image[2:]), 1), step="image")
    direct = swapped is x
    done = site.reshape(
        _log(site, swapped, "" if direct else "softmax"), image, step="" if axis == 1 else "shaped"
    )
    return site.reshape(site.swap(done, axis, "" if shape == shape_of(x) else "back"), shape_of(x))


def _axis(site: Site) -> tuple[Shape, int]:
    """Give the shape that the operator sees, and its axis.

    Before opset 13 the default axis is 1, not the last, and everything from the axis on is one row.
    """
    shape, one_row = shape_of(site.tensor()), site.opset < 13
    axis = site.axis(int(site.attr("axis", 1 if one_row else -1)), len(shape))
    if axis == 0:
        raise site.unsupported("axis 0", "any axis but the batch")
    return (*shape[:axis], prod(shape[axis:])) if one_row else shape, axis


def _log(site: Site, x: ir.Value, step: str) -> ir.Value:
    shape = shape_of(x)
    image = site.reshape(x, (*shape, 1, 1) if len(shape) == 2 else shape, "planes")
    below = site.emit("Sub", [image, largest(site, image, (1,))], shape_of(image), step="below")
    powers = site.emit("Activation", [below], shape_of(below), step="powers", activation="exp")
    total = over_channels(site, powers, 1.0, "sum")
    log = site.emit("Activation", [total], shape_of(total), step="log", activation="log")
    done = site.emit("Sub", [below, log], shape_of(below), step=step if len(shape) == 4 else "apart")
    return site.reshape(done, shape, step)


CONVERTERS = {"Softmax": softmax, "LogSoftmax": log_softmax}
