"""Expand: what is repeated along dimensions of size 1, where an element-wise operator cannot do that by itself.

[1, c, 1, w] -> [1, c, h, w]    rows and columns: a Resize
[1, 1, h, w] -> [1, c, h, w]    any other axis: a 1x1 Conv whose weights are ones
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..nodes import Shape
from ..site import Operand, Site, shape_of


def expand(site: Site) -> Operand:
    """Convert Expand; arithmetic that reads it goes back to what was there before (see `as_images`)."""
    x, asked = site.tensor(), site.ints("shape", 1)
    if asked is None:
        raise site.malformed("its shape is missing")
    old, sizes = shape_of(x), list(asked)
    if len(sizes) == len(old) and sizes[0] == site.builder.source_batch and not site.reads_unbatched:
        sizes[0] = 1
    sizes = [1] * (len(old) - len(sizes)) + sizes
    if len(sizes) != len(old) or sizes[0] != 1:
        raise site.unsupported(
            f"it brings {list(old)} to {list(asked)}", "as many dimensions, and the same batch"
        )
    if any(size != was and 1 not in (size, was) for size, was in zip(sizes, old, strict=True)):
        raise site.malformed(f"shape {list(asked)} does not fit an input {list(old)}")
    shape = tuple(max(pair) for pair in zip(sizes, old, strict=True))
    wide = spread(site, x, shape, "wide")
    if wide is x:
        return x
    wide = site.last(wide, shape)
    site.builder.narrow[wide] = x
    return wide


def spread(site: Site, x: ir.Value, shape: Shape, step: str) -> ir.Value:
    """Append what repeats an activation along its dimensions of size 1, up to a shape of the same rank."""
    if len(shape) == 4 and shape_of(x)[2:] != shape[2:]:
        matrices = [
            np.eye(out) if size == out else np.ones((out, 1))
            for size, out in zip(shape_of(x)[2:], shape[2:], strict=True)
        ]
        weights = list(zip(("rows", "columns"), matrices, strict=True))
        x = site.emit("Resize", [x], (*shape_of(x)[:2], *shape[2:]), weights=weights, step=f"{step}.image")
    for axis in range(len(shape) - 1, 0, -1):
        now = shape_of(x)
        if now[axis] == shape[axis]:
            continue
        planes, times = prod(now[1:axis]), shape[axis]
        size = now[2:] if (len(now), axis) == (4, 1) else (1, prod(now[axis + 1 :]))
        image = site.reshape(x, (1, planes, *size), f"{step}.planes{axis}")
        ones = [("weight", np.ones((planes * times, 1, 1, 1))), ("bias", np.zeros(planes * times))]
        many = site.emit(
            "Conv", [image], (1, planes * times, *size), weights=ones, step=f"{step}.axis{axis}", group=planes
        )
        x = site.reshape(many, (*now[:axis], times, *now[axis + 1 :]), f"{step}.shaped{axis}")
    return x


CONVERTERS = {"Expand": expand}
