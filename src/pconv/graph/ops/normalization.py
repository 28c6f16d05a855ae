"""InstanceNormalization, GroupNormalization, LayerNormalization: normalised at run time, from operators that are there.

d = x - mean(x);    y = d / sqrt(mean(d * d) + epsilon) * scale + bias        means over each plane, group, or pixel
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from .reduce import over_channels
from .transpose import last_again, last_as_image


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


def layer_normalization(site: Site) -> Operand:
    """Convert LayerNormalization over the last axis: of rows, tokens, or an image [n, h, w, c], as in ConvNeXt."""
    x = site.tensor()
    shape, rank = shape_of(x), len(shape_of(x))
    if rank < 2 or site.axis(site.attr("axis", -1), rank) != rank - 1:
        raise site.unsupported(f"axis {site.attr('axis', -1)} of {list(shape)}", "the last axis")
    if any(output.uses() or output.is_graph_output() for output in site.node.outputs[1:]):
        raise site.unsupported("its mean or deviation is used", "its first output alone")
    channels = shape[-1]
    scale, bias = site.weight(1).reshape(-1), site.constant(2)
    bias = np.zeros_like(scale) if bias is None else bias.reshape(-1)
    if not {scale.size, bias.size} <= {1, channels}:
        raise site.malformed(f"scale and bias of {scale.size} and {bias.size} for an input {list(shape)}")
    scale, bias = (np.broadcast_to(array, channels) for array in (scale, bias))
    image = last_as_image(site, x, "image")
    mean = over_channels(site, image, 1.0 / channels, "mean")
    apart = site.emit("Sub", [image, mean], shape_of(image), step="apart")
    square = site.emit("Mul", [apart, apart], shape_of(image), step="square")
    variance = over_channels(site, square, 1.0 / channels, "variance")
    unit = _unit(site, apart, variance)
    weights = [("scale", scale), ("shift", bias)]
    done = site.emit("Affine", [unit], shape_of(unit), weights=weights, step="scaled")
    return last_again(site, done, shape)


def _unit(site: Site, apart: ir.Value, variance: ir.Value) -> ir.Value:
    """Append the division by the root of a variance."""
    shifted = site.scaled(variance, 1.0, site.attr("epsilon", 1e-5), step="positive")
    spread = site.emit("Activation", [shifted], shape_of(shifted), step="spread", activation="sqrt")
    return site.emit("Div", [apart, spread], shape_of(apart), step="unit")


def _normalised(site: Site, x: ir.Value, groups: int, scale: Array, bias: Array) -> Operand:
    shape = shape_of(x)
    if scale.size != shape[1] or bias.size != shape[1]:
        raise site.malformed(
            f"scale {list(scale.shape)} and bias {list(bias.shape)} of an input {list(shape)}"
        )
    rows = prod(shape[1:3]) // groups
    planes = site.reshape(x, (1, groups, rows, prod(shape[3:])), step="planes")
    image, one = shape_of(planes), (1, groups, 1, 1)
    mean = site.emit("GlobalAveragePool", [planes], one, step="mean")
    apart = site.emit("Sub", [planes, mean], image, step="apart")
    square = site.emit("Mul", [apart, apart], image, step="square")
    variance = site.emit("GlobalAveragePool", [square], one, step="variance")
    done = site.reshape(_unit(site, apart, variance), shape, step="shaped")
    return site.emit("Affine", [done], shape, weights=[("scale", scale), ("shift", bias)])


CONVERTERS = {
    "InstanceNormalization": instance_normalization,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
}
