"""Reductions over any axes but the batch: of what is brought into one plane by pooling, of channels by a convolution.

[1, a, gone]         -> [1, a, rows, columns]   -> sums, means or maxima of planes
[1, gone, h, w]      -> a 1x1 convolution with equal weights, also where these channels were moved last
[1, a, gone, b]      -> transposed to the first
"""

from math import isqrt, prod

import numpy as np
import onnx_ir as ir

from ..site import Operand, Site, shape_of
from .global_pool import average, maximum
from .transpose import image_behind

Axes = tuple[int, ...]


def reduce_mean(site: Site) -> Operand:
    """Convert ReduceMean."""
    return _result(site, added(site, *_read(site), mean=True, step="mean"))


def reduce_sum(site: Site) -> Operand:
    """Convert ReduceSum."""
    return _result(site, added(site, *_read(site), whole=_reads_whole(site)))


def reduce_max(site: Site) -> Operand:
    """Convert ReduceMax."""
    return _result(site, largest(site, *_read(site)))


def reduce_min(site: Site) -> Operand:
    """Convert ReduceMin: the largest of what is negated, negated."""
    x, axes = _read(site)
    top = largest(site, site.scaled(x, -1.0, step="minus"), axes)
    return _result(site, site.scaled(top, -1.0, step="least"))


def reduce_l1(site: Site) -> Operand:
    """Convert ReduceL1: the sum of what is positive, and of the rest negated."""
    x, axes = _read(site)
    size = site.emit("Activation", [x], shape_of(x), step="abs", activation="leaky", act_min=-1.0)
    return _result(site, added(site, size, axes))


def reduce_sum_square(site: Site) -> Operand:
    """Convert ReduceSumSquare."""
    return _result(site, _squares(site))


def reduce_l2(site: Site) -> Operand:
    """Convert ReduceL2: the root of the sum of squares."""
    squares = _squares(site)
    return _result(
        site, site.emit("Activation", [squares], shape_of(squares), step="root", activation="sqrt")
    )


def _squares(site: Site) -> ir.Value:
    x, axes = _read(site)
    return added(site, site.emit("Mul", [x, x], shape_of(x), step="square"), axes)


def _reads_whole(site: Site) -> bool:
    """Tell whether what is reduced are whole numbers: integers or booleans, or floats that were cast from such."""
    value = site.node.inputs[0]
    producer = value.producer() if value is not None else None
    return site.types[0] != ir.DataType.FLOAT or (producer is not None and producer.op_type == "Cast")


def _read(site: Site) -> tuple[ir.Value, Axes]:
    """Give what is reduced, and over which axes: channels that come last, as those of the image that they were."""
    x, axes = site.tensor(), _axes(site)
    image = image_behind(x) if axes == (len(shape_of(x)) - 1,) else None
    return (x, axes) if image is None else (image, (1,))


def _axes(site: Site) -> Axes:
    """Give the axes, which are an input in newer opsets."""
    rank = len(shape_of(site.tensor()))
    every: Axes = () if site.attr("noop_with_empty_axes", 0) else tuple(range(rank - site.reads_unbatched))
    axes = sorted({site.axis(axis, rank) for axis in site.ints("axes", 1) or every})
    if not axes or 0 in axes:
        raise site.unsupported(f"it is over axes {axes}", "any axes but the batch")
    return tuple(axes)


def _result(site: Site, value: ir.Value) -> Operand:
    """Give what was reduced the shape that the node has, and its name."""
    shape, axes = shape_of(site.tensor()), _axes(site)
    kept = dict.fromkeys(axes, 1) if site.attr("keepdims", 1) else {}
    return site.last(value, [kept.get(i, size) for i, size in enumerate(shape) if i in kept or i not in axes])


def added(
    site: Site, x: ir.Value, axes: Axes, *, mean: bool = False, whole: bool = False, step: str = "sum"
) -> ir.Value:
    """Append the sum or the mean over some axes, which stay with size 1; `whole` says that it is of whole numbers.

    Other sums over planes are their mean, times how many numbers there are: what divides by that again, as a mean
    written out does, is multiplied with it beforehand, and no half has to hold the sum.
    """
    shape = shape_of(x)
    count = prod(shape[axis] for axis in axes)
    kept = tuple(1 if i in axes else size for i, size in enumerate(shape))
    if axes == (1,) and prod(kept) > 1:
        size = shape[2:] if len(shape) == 4 else (1, prod(shape[2:]))
        image = site.reshape(x, (1, count, *size), f"{step}.image")
        return site.reshape(
            over_channels(site, image, 1.0 / count if mean else 1.0, step), kept, f"{step}.kept"
        )
    image = _as_image(site, x, axes, step)
    if mean or whole:
        pooled = average(site, image, step, sum_=whole)
    else:
        pooled = site.scaled(average(site, image, f"{step}.mean"), count, step=step)
    return site.reshape(pooled, kept, f"{step}.kept")


def largest(site: Site, x: ir.Value, axes: Axes) -> ir.Value:
    """Append the maximum over some axes, which stay with size 1."""
    kept = [1 if i in axes else size for i, size in enumerate(shape_of(x))]
    return site.reshape(maximum(site, _as_image(site, x, axes, "max"), "max"), kept, "max.kept")


def over_channels(site: Site, x: ir.Value, factor: float, step: str) -> ir.Value:
    """Append the sum over an image's channels, times a factor: [1, c, h, w] -> [1, 1, h, w]."""
    _, channels, *size = shape_of(x)
    weights = [("weight", np.full((1, channels, 1, 1), factor)), ("bias", np.zeros(1))]
    return site.emit("Conv", [x], (1, 1, *size), weights=weights, step=step)


def _as_image(site: Site, x: ir.Value, axes: Axes, step: str) -> ir.Value:
    """Bring the axes of a reduction to where an image has its rows and columns, about as many of either."""
    shape = shape_of(x)
    kept = [axis for axis in range(1, len(shape)) if axis not in axes]
    order = (0, *kept, *axes)
    if order != tuple(range(len(shape))):
        x = site.emit("Transpose", [x], [shape[axis] for axis in order], step=f"{step}.last", perm=order)
    gone = [shape[axis] for axis in axes]
    rows = prod(gone[:-1]) if len(gone) > 1 else _rows(gone[0])
    return site.reshape(x, (1, prod(shape[a] for a in kept), rows, prod(gone) // rows), f"{step}.image")


def _rows(count: int) -> int:
    return next(rows for rows in range(isqrt(count), 0, -1) if count % rows == 0)


CONVERTERS = {
    "ReduceMean": reduce_mean,
    "ReduceSum": reduce_sum,
    "ReduceMax": reduce_max,
    "ReduceMin": reduce_min,
    "ReduceL1": reduce_l1,
    "ReduceL2": reduce_l2,
    "ReduceSumSquare": reduce_sum_square,
}
