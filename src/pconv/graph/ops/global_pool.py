"""Pooling of a whole image, and the reductions, which are the same over other axes."""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Operand, Site, shape_of


def global_average_pool(site: Site) -> Operand:
    """Convert GlobalAveragePool."""
    return _average(site, site.tensor(rank=4))


def global_max_pool(site: Site) -> Operand:
    """Convert GlobalMaxPool."""
    return _maximum(site, site.tensor(rank=4))


def reduce_mean(site: Site) -> Operand:
    """Convert ReduceMean; over channels it is a convolution with equal weights."""
    return _reduce(site, mean=True)


def reduce_sum(site: Site) -> Operand:
    """Convert ReduceSum likewise."""
    return _reduce(site, mean=False)


def reduce_max(site: Site) -> Operand:
    """Convert ReduceMax."""
    x, axes, shape = _axes(site)
    image = _as_image(site, x, axes)
    return site.reshape(_maximum(site, image, _step(image, shape)), shape)


def _axes(site: Site) -> tuple[ir.Value, set[int], list[int]]:
    """Give the input, the axes, which are an input in newer opsets, and the shape of the output."""
    x = site.tensor(rank=4)
    empty: tuple[int, ...] = () if site.attr("noop_with_empty_axes", 0) else (0, 1, 2, 3)
    axes = {site.axis(a, 4) for a in site.ints("axes", 1) or empty}
    if not axes or 0 in axes:
        raise site.unsupported(f"it is over axes {sorted(axes)}", "any axes but the batch")
    keep = bool(site.attr("keepdims", 1))
    return x, axes, [1 if i in axes else size for i, size in enumerate(shape_of(x)) if keep or i not in axes]


def _as_image(site: Site, x: ir.Value, axes: set[int]) -> ir.Value:
    """Bring the axes of a reduction to where an image has its rows and columns."""
    shape, kept, gone = shape_of(x), [axis for axis in (1, 2, 3) if axis not in axes], sorted(axes)
    order = (0, *kept, *gone)
    if order != (0, 1, 2, 3):
        x = site.emit("Transpose", [x], [shape[axis] for axis in order], step="last", perm=order)
    rows = prod(shape[axis] for axis in gone[:-1])
    return site.reshape(x, (1, prod(shape[axis] for axis in kept), rows, shape[gone[-1]]), step="image")


def _step(image: ir.Value, shape: list[int]) -> str:
    """Name a node that pools an image: the last one, unless its output must take another shape."""
    return "" if shape == [*shape_of(image)[:2], 1, 1] else "pool"


def _reduce(site: Site, *, mean: bool) -> Operand:
    x, axes, shape = _axes(site)
    channels, *size = shape_of(x)[1:]
    if axes == {1}:
        step = "" if shape == [1, 1, *size] else "sum"
        return site.reshape(over_channels(site, x, 1.0 / channels if mean else 1.0, step), shape)
    image = _as_image(site, x, axes)
    if mean:
        return site.reshape(_average(site, image, _step(image, shape)), shape)
    pooled, planes = _average(site, image, "mean"), shape_of(image)[1]
    weights = [("scale", np.full(planes, prod(shape_of(image)[2:]))), ("shift", np.zeros(planes))]
    total = site.emit("Affine", [pooled], shape_of(pooled), weights=weights, step=_step(image, shape))
    return site.reshape(total, shape)


def over_channels(site: Site, x: ir.Value, factor: float, step: str) -> ir.Value:
    """Append the sum over an image's channels, times a factor: [1, c, h, w] -> [1, 1, h, w]."""
    _, channels, *size = shape_of(x)
    weights = [("weight", np.full((1, channels, 1, 1), factor)), ("bias", np.zeros(1))]
    return site.emit("Conv", [x], (1, 1, *size), weights=weights, step=step)


def _average(site: Site, x: ir.Value, step: str = "") -> ir.Value:
    return site.emit("GlobalAveragePool", [x], (*shape_of(x)[:2], 1, 1), step=step)


def _maximum(site: Site, x: ir.Value, step: str = "") -> ir.Value:
    image = shape_of(x)[2:]
    return site.emit("MaxPool", [x], (*shape_of(x)[:2], 1, 1), step=step, kernel_shape=image, strides=image)


CONVERTERS = {
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMean": reduce_mean,
    "ReduceSum": reduce_sum,
    "ReduceMax": reduce_max,
}
