"""ArgMax, ArgMin over any axis but the batch: where the largest stands, the first of equal ones.

[1, n, h, w]         -> [1, 1, h, w]
[1, a, n, b]         -> transposed to [1, n, a * b, 1]
smallest             -> the largest of what is negated
"""

from math import prod

import onnx_ir as ir

from ..site import Operand, Site, shape_of

_MOST = 1 << 24
"""Whole numbers that floats count up to."""


def arg_max(site: Site) -> Operand:
    """Convert ArgMax."""
    return _result(site, site.tensor())


def arg_min(site: Site) -> Operand:
    """Convert ArgMin."""
    return _result(site, site.scaled(site.tensor(), -1.0, step="minus"))


def _result(site: Site, x: ir.Value) -> Operand:
    shape = shape_of(x)
    axis = site.axis(int(site.attr("axis", 0)), len(shape))
    if axis == 0:
        raise site.unsupported("it is over axis 0", "any axis but the batch")
    if site.attr("select_last_index", 0):
        raise site.unsupported("select_last_index is 1", "0: the first of equal ones")
    kept = (1,) if site.attr("keepdims", 1) else ()
    return site.last(place_of_largest(site, x, axis), (*shape[:axis], *kept, *shape[axis + 1 :]))


def place_of_largest(site: Site, x: ir.Value, axis: int) -> ir.Value:
    """Append what tells where along an axis the largest stands: [1, 1, h, w] of an image or, of rows, [1, 1]."""
    shape = shape_of(x)
    if shape[axis] > _MOST:
        raise site.unsupported(f"it is over {shape[axis]:,} positions", f"up to {_MOST:,}")
    kept = [size for size in range(1, len(shape)) if size != axis]
    if axis > 1 and prod(shape[1:axis]) > 1:
        order = (0, axis, *kept)
        x = site.emit("Transpose", [x], [shape[i] for i in order], step="place.first", perm=order)
    size = tuple(shape[i] for i in kept)
    if len(size) not in (0, 2):
        size = (prod(size), 1)
    x = site.reshape(x, (1, shape[axis], *size), "place.image")
    return site.emit("ArgMax", [x], (1, 1, *size), step="place")


CONVERTERS = {"ArgMax": arg_max, "ArgMin": arg_min}
