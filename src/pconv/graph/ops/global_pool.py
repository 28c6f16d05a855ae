"""Pooling of a whole image, and the reductions that are the same: over the image, or means over channels."""

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
    """Convert ReduceMean over the image, or over channels, which is a convolution with equal weights."""
    return _reduce(site, mean=True)


def reduce_sum(site: Site) -> Operand:
    """Convert ReduceSum likewise."""
    return _reduce(site, mean=False)


def reduce_max(site: Site) -> Operand:
    """Convert ReduceMax over the image."""
    x, axes, keep = _axes(site)
    if axes != {2, 3}:
        raise site.unsupported(f"the maximum is over axes {sorted(axes)}", "[2, 3] (height and width)")
    return _dropped(site, _maximum(site, x, "" if keep else "pool"), axes, keep)


def _axes(site: Site) -> tuple[ir.Value, set[int], bool]:
    """Give the input, the axes, which are an input in newer opsets, and whether they stay as 1."""
    x = site.tensor(rank=4)
    empty: tuple[int, ...] = () if site.attr("noop_with_empty_axes", 0) else (0, 1, 2, 3)
    axes = {site.axis(a, 4) for a in site.ints("axes", 1) or empty}
    return x, axes, bool(site.attr("keepdims", 1))


def _reduce(site: Site, *, mean: bool) -> Operand:
    x, axes, keep = _axes(site)
    shape = shape_of(x)
    weight = 1.0 / shape[1] if mean else 1.0
    if axes == {1}:
        weights = [("weight", np.full((1, shape[1], 1, 1), weight)), ("bias", np.zeros(1))]
        step = "" if keep else "sum"
        return _dropped(
            site, site.emit("Conv", [x], (1, 1, *shape[2:]), weights=weights, step=step), axes, keep
        )
    if axes != {2, 3}:
        what = "mean" if mean else "sum"
        raise site.unsupported(
            f"the {what} is over axes {sorted(axes)}", "[2, 3] (height and width) or [1] (channels)"
        )
    if mean:
        return _dropped(site, _average(site, x, "" if keep else "pool"), axes, keep)
    pooled, pixels = _average(site, x, "pool"), np.full(shape[1], prod(shape[2:]))
    weights = [("scale", pixels), ("shift", np.zeros(shape[1]))]
    total = site.emit("Affine", [pooled], shape_of(pooled), weights=weights, step="" if keep else "sum")
    return _dropped(site, total, axes, keep)


def _average(site: Site, x: ir.Value, step: str = "") -> ir.Value:
    return site.emit("GlobalAveragePool", [x], (*shape_of(x)[:2], 1, 1), step=step)


def _maximum(site: Site, x: ir.Value, step: str = "") -> ir.Value:
    image = shape_of(x)[2:]
    return site.emit("MaxPool", [x], (*shape_of(x)[:2], 1, 1), step=step, kernel_shape=image, strides=image)


def _dropped(site: Site, value: ir.Value, axes: set[int], keep: bool) -> Operand:
    if keep:
        return value
    return site.reshape(value, [size for i, size in enumerate(shape_of(value)) if i not in axes])


CONVERTERS = {
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMean": reduce_mean,
    "ReduceSum": reduce_sum,
    "ReduceMax": reduce_max,
}
