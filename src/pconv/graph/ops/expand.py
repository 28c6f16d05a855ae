"""Expand, Tile: what is repeated along dimensions of size 1, where an element-wise operator cannot do that by itself.

[1, c, 1, w] -> [1, c, h, w]    rows and columns: a Resize
[1, 1, h, w] -> [1, c, h, w]    any other axis: a 1x1 Conv whose weights are ones
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..nodes import Shape
from ..site import Operand, Site, shape_of


def expand(site: Site) -> Operand:
    """Convert Expand; arithmetic that reads it goes back to what was there before (see `as_images`).

    Where it repeats the one sample of a model, that is no batch any more.
    """
    x, asked = site.tensor(), site.ints("shape", 1)
    if asked is None:
        raise site.malformed("its shape is missing")
    own, sizes, single = shape_of(x)[site.reads_unbatched :], list(asked), site.builder.one_sample
    if len(sizes) == len(own) and sizes[0] == site.builder.source_batch and not site.reads_unbatched:
        sizes[0] = 1
    rank = max(len(own), len(sizes))
    old, wanted = ((1,) * (rank - len(some)) + tuple(some) for some in (own, sizes))
    if any(size != was and 1 not in (size, was) for size, was in zip(wanted, old, strict=True)):
        raise site.malformed(f"shape {list(asked)} does not fit an input {list(own)}")
    shape = tuple(max(pair) for pair in zip(wanted, old, strict=True))
    if not single and (rank > len(own) or shape[0] > 1):
        raise site.unsupported(
            f"it brings {list(own)} to {list(asked)}",
            "as many dimensions, and the same batch",
            "Export the model for one sample.",
        )
    if site.reads_unbatched or shape[0] > 1:
        site.drops_batch = "here"
        old, shape = (1, *old), (1, *shape)
    aligned = site.reshape(x, old, "aligned")
    wide = spread(site, aligned, shape, "wide")
    if wide is x:
        return x
    done = site.last(wide, shape)
    if wide is not aligned:
        site.builder.narrow[done] = aligned
    return done


def tile(site: Site) -> Operand:
    """Convert Tile: each dimension is repeated as one before it, of size 1."""
    x, times = site.tensor(), site.weight(1)
    own = shape_of(x)[site.reads_unbatched :]
    if times.shape != (len(own),) or times.min() < 1:
        raise site.malformed(f"it repeats {list(own)} {times.tolist()} times")
    pairs = [(size, int(many)) for size, many in zip(own, times, strict=True)]
    shape = tuple(size * many for size, many in pairs)
    if shape == own:
        return x
    narrow = site.reshape(x, (1, *(part for size, _ in pairs for part in (1, size))), "narrow")
    wide = spread(site, narrow, (1, *(part for size, many in pairs for part in (many, size))), "wide")
    if not site.reads_unbatched and shape[0] == 1:
        return site.last(wide, shape)
    if not site.builder.one_sample:
        raise site.mixed(shape)
    site.drops_batch = "here"
    return site.last(wide, (1, *shape))


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


CONVERTERS = {"Expand": expand, "Tile": tile}
