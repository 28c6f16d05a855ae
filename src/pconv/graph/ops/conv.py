"""Conv -> Conv with explicit pads and a bias."""

import numpy as np

from ..site import Operand, Site, shape_of
from ..window import resolve


def conv(site: Site) -> Operand:
    """Convert a 2-D convolution with constant weights; groups and dilation are kept."""
    x, weight = site.tensor(rank=4), site.weight(1)
    if weight.ndim != 4:
        raise site.unsupported(f"its weight has shape {list(weight.shape)}", "2-D kernels [oc, ic, kh, kw]")
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
    return site.emit(
        "Conv",
        [x],
        (1, oc, *window.out),
        weights=[("weight", weight), ("bias", bias)],
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        group=group,
    )


CONVERTERS = {"Conv": conv}
