"""InstanceNormalization, GroupNormalization: what is normalised at run time, from operators that are there.

d = x - mean(x);    y = d / sqrt(mean(d * d) + epsilon) * scale + bias        means over each plane (group)
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of


def instance_normalization(site: Site) -> Operand:
    """Convert InstanceNormalization of an image, or of rows [n, c, k]."""
    x = site.tensor()
    return _normalised(site, x, shape_of(x)[1], site.weight(1), site.weight(2))


def group_normalization(site: Site) -> Operand:
    """Convert GroupNormalization; before opset 21 it has a scale for each group, then for each channel."""
    x, groups = site.tensor(), int(site.attr("num_groups", 0))
    channels = shape_of(x)[1]
    if groups < 1 or channels % groups:
        raise site.malformed(f"{groups} groups of {channels} channels")
    scale, bias = (np.repeat(site.weight(i), channels // site.weight(i).size) for i in (1, 2))
    return _normalised(site, x, groups, scale, bias)


def _normalised(site: Site, x: ir.Value, groups: int, scale: Array, bias: Array) -> Operand:
    shape = shape_of(x)
    if len(shape) < 3 or scale.size != shape[1] or bias.size != shape[1]:
        raise site.malformed(
            f"scale {list(scale.shape)} and bias {list(bias.shape)} of an input {list(shape)}"
        )
    rows = shape[2] * shape[1] // groups
    planes = site.reshape(x, (1, groups, rows, prod(shape[3:])), step="planes")
    image, one = shape_of(planes), (1, groups, 1, 1)
    mean = site.emit("GlobalAveragePool", [planes], one, step="mean")
    apart = site.emit("Sub", [planes, mean], image, step="apart")
    square = site.emit("Mul", [apart, apart], image, step="square")
    variance = site.emit("GlobalAveragePool", [square], one, step="variance")
    ones = np.ones(groups)
    weights = [("scale", ones), ("shift", site.attr("epsilon", 1e-5) * ones)]
    shifted = site.emit("Affine", [variance], one, weights=weights, step="positive")
    spread = site.emit("Activation", [shifted], one, step="spread", activation="sqrt")
    done = site.reshape(site.emit("Div", [apart, spread], image, step="unit"), shape, step="shaped")
    return site.emit("Affine", [done], shape, weights=[("scale", scale), ("shift", bias)])


CONVERTERS = {
    "InstanceNormalization": instance_normalization,
    "GroupNormalization": group_normalization,
}
