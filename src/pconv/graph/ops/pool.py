"""MaxPool, AveragePool -> the same with ceil_mode turned into pads."""

from typing import Any

import onnx_ir as ir

from ..site import Operand, Site, shape_of
from ..window import Window, resolve


def max_pool(site: Site) -> Operand:
    """Convert MaxPool; padding never wins, so windows that stand out are just padded more."""
    x, window = _resolve(site)
    return _emit(site, "MaxPool", x, window, _grow(window.pads, window.extra))


def average_pool(site: Site) -> Operand:
    """Convert AveragePool; a window over the whole image is a GlobalAveragePool.

    What ceil_mode adds at the end is never counted, even where pads are: then the pads become a Pad.
    """
    x, window = _resolve(site)
    image = shape_of(x)[2:]
    pads, counted = window.pads, bool(site.attr("count_include_pad", 0)) and any(window.pads)
    if window.kernel == image and not any(pads) and window.out == (1, 1):
        return site.like_operand(site.emit("GlobalAveragePool", [x], (*shape_of(x)[:2], 1, 1)))
    if counted and any(window.extra):
        top, left, bottom, right = pads
        padded = (*shape_of(x)[:2], image[0] + top + bottom, image[1] + left + right)
        x = site.emit("Pad", [x], padded, step="pad", pads=pads)
        pads, counted = (0, 0, 0, 0), False
    return _emit(site, "AveragePool", x, window, _grow(pads, window.extra), count_include_pad=int(counted))


def _resolve(site: Site) -> tuple[ir.Value, Window]:
    x = site.image()
    kernel = site.attr("kernel_shape")
    if kernel is None:
        raise site.malformed("kernel_shape is missing")
    window = resolve(site, shape_of(x)[2:], kernel)
    if window.dilations != (1, 1):
        raise site.unsupported(f"dilations {list(window.dilations)}", "[1, 1] in pooling")
    return x, window


def _grow(pads: tuple[int, int, int, int], extra: tuple[int, int]) -> tuple[int, int, int, int]:
    return pads[0], pads[1], pads[2] + extra[0], pads[3] + extra[1]


def _emit(
    site: Site, op: str, x: ir.Value, window: Window, pads: tuple[int, int, int, int], **attrs: Any
) -> Operand:
    shape = (*shape_of(x)[:2], *window.out)
    attrs |= {"kernel_shape": window.kernel, "strides": window.strides, "pads": pads}
    return site.like_operand(site.emit(op, [x], shape, **attrs))


CONVERTERS = {"MaxPool": max_pool, "AveragePool": average_pool}
