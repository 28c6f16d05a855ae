"""Conv -> Conv with explicit pads and a bias.

Of images that have no batch, as windows of attention, one below the other with rows of zeros between them:

[n, c, h, w] -> [1, c, n * (h + gap), w] -> Conv -> [n, oc, oh, ow]
"""

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from ..window import Window, resolve
from .transpose import permuted


def conv(site: Site) -> Operand:
    """Convert a convolution of an image or of rows with constant weights; groups and dilation are kept."""
    weight = site.weight(1)
    if weight.ndim != len(shape_of(site.tensor())) - site.reads_unbatched:
        raise site.unsupported(
            f"its weight has shape {list(weight.shape)}",
            "kernels [oc, ic, kh, kw] of an image, [oc, ic, k] of rows",
        )
    x = _images(site) if site.reads_unbatched else site.image()
    ic, *image = shape_of(x)[-3:]
    oc, group = weight.shape[0], int(site.attr("group", 1))
    if group < 1 or oc % group or weight.shape[1] * group != ic:
        raise site.malformed(
            f"weight {list(weight.shape)} with group {group} does not fit {ic} input channels"
        )
    if site.attr("kernel_shape", weight.shape[2:]) != weight.shape[2:]:
        raise site.malformed(f"kernel_shape contradicts its weight {list(weight.shape)}")
    bias = site.constant(2)
    bias = np.zeros(oc, np.float32) if bias is None else bias
    if bias.shape != (oc,):
        raise site.malformed(f"its bias has shape {list(bias.shape)}, not [{oc}]")
    window = resolve(site, tuple(image), weight.shape[2:])
    if not site.reads_unbatched:
        return site.like_operand(_emit(site, x, weight, bias, window))
    tall, over = _below(site, x, window)
    return _apart(site, _emit(site, tall, weight, bias, over), window)


def _emit(site: Site, x: ir.Value, weight: Array, bias: Array, window: Window) -> ir.Value:
    weights = [("weight", weight.reshape(*weight.shape[:2], *window.kernel)), ("bias", bias)]
    return site.emit(
        "Conv",
        [x],
        (1, weight.shape[0], *window.out),
        weights=weights,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        group=int(site.attr("group", 1)),
    )


def _images(site: Site) -> ir.Value:
    """Give images without a batch as [1, n, c, h, w]."""
    *shape, columns = shape_of(site.tensor())
    if len(shape) > 4:
        raise site.unsupported(f"its input has shape {[*shape[1:], columns]}", "4 dimensions [n, c, h, w]")
    rows = shape[3:] or [1]
    return site.reshape(site.tensor(), (*shape[:3], *rows, columns), "images")


def _below(site: Site, x: ir.Value, window: Window) -> tuple[ir.Value, Window]:
    """Append what puts images [1, n, c, h, w] one below the other; give the window over all of them as well."""
    _, n, c, h, w = shape_of(x)
    (top, left, bottom, right), stride = window.pads, window.strides[0]
    reach = (window.kernel[0] - 1) * window.dilations[0] + 1
    if top >= reach:
        raise site.unsupported(
            f"pads {list(window.pads)} of images that have no batch", f"less than {reach} above"
        )
    each = h + max(top, bottom)
    each += -each % stride
    rows, out = n * each, n * each // stride
    tall = site.reshape(permuted(site, x, (0, 2, 1, 3, 4), "turned"), (1, c * n, h, w), "planes")
    if each > h:
        tall = site.emit("Pad", [tall], (1, c * n, each, w), step="gaps", pads=(0, 0, each - h, 0))
    below = max(0, (out - 1) * stride + reach - top - rows)
    over = replace(window, pads=(top, left, below, right), out=(out, window.out[1]))
    return site.reshape(tall, (1, c, rows, w), "tall"), over


def _apart(site: Site, y: ir.Value, window: Window) -> ir.Value:
    """Append what takes the results of images that stand one below the other, and gives them the node's shape."""
    n, (_, oc, rows, columns) = shape_of(site.tensor())[1], shape_of(y)
    parts = site.reshape(y, (1, oc * n, rows // n, columns), "parts")
    parts = site.cut(parts, 2, range(window.out[0]), "rows")
    images = permuted(site, site.reshape(parts, (1, oc, n, *window.out), "apart"), (0, 2, 1, 3, 4), "images")
    size = window.out if len(shape_of(site.tensor())) == 5 else window.out[1:]
    return site.named(y, site.reshape(images, (1, n, oc, *size), "shaped"))


CONVERTERS = {"Conv": conv}
