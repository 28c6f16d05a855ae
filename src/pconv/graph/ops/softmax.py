"""Softmax, LogSoftmax: along channels, or along another axis, which is brought there and back.

LogSoftmax is d - log(sum(exp(d))) of what is below the largest, d = x - max(x).
"""

from collections.abc import Callable
from math import prod

import onnx_ir as ir

from ..site import Operand, Site, shape_of
from .reduce import largest, over_channels


def softmax(site: Site) -> Operand:
    """Convert Softmax."""
    return _along(site, lambda x, step: site.emit("Softmax", [x], shape_of(x), step=step))


def log_softmax(site: Site) -> Operand:
    """Convert LogSoftmax."""
    return _along(site, lambda x, step: _log(site, x, step))


def _along(site: Site, emit: Callable[[ir.Value, str], ir.Value]) -> Operand:
    """Append what works over channels, along the axis of the node.

    Before opset 13 the default axis is 1, not the last, and everything from the axis on is one row.
    """
    x = site.tensor()
    shape, rows = shape_of(x), site.opset < 13
    axis = site.axis(int(site.attr("axis", 1 if rows else -1)), len(shape))
    if axis == 0:
        raise site.unsupported("axis 0", "any axis but the batch")
    if rows and axis != len(shape) - 1:
        if axis > 1:
            raise site.unsupported(
                f"axis {axis} of {len(shape)} dimensions before opset 13", "axis 1 or the last"
            )
        flat = site.reshape(x, (1, prod(shape)), step="flat")
        return site.reshape(emit(flat, "row"), shape)
    swapped = site.swap(x, axis, "swap")
    image = shape_of(swapped)
    if len(image) not in (2, 4):
        swapped = site.reshape(swapped, (1, image[1], prod(image[2:]), 1), step="image")
    done = emit(swapped, "" if swapped is x else "softmax")
    return site.swap(site.reshape(done, image, step="" if axis == 1 else "shaped"), axis)


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
