"""Conv -> Conv with explicit pads and a bias."""

import numpy as np

from ..site import Operand, Site, shape_of
from ..window import resolve


def conv(site: Site) -> Operand:
    """Convert a convolution of an image or of rows with constant weights; groups and dilation are kept."""
    x, weight = site.image(), site.weight(1)
    if weight.ndim != len(shape_of(site.tensor())):
        raise site.unsupported(
            f"its weight has shape {list(weight.shape)}",
            "kernels [oc, ic, kh, kw] of an image, [oc, ic, k] of rows",
        )
    _, ic, *image = shape_of(x)
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
    y = site.emit(
        "Conv",
        [x],
        (1, oc, *window.out),
        weights=[("weight", weight.reshape(*weight.shape[:2], *window.kernel)), ("bias", bias)],
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        group=group,
    )
    return site.like_operand(y)


CONVERTERS = {"Conv": conv}
