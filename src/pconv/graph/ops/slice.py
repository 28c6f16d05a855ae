"""Slice -> a Subsample for each axis; those of an image become one. Backwards it is as Gather."""

from functools import partial

from ..site import Operand, Site, shape_of
from .gather import picked

OPEN = 2**31 - 1
"""Samples of a batch that is open: the least end that exporters write for all."""


def slice_(site: Site) -> Operand:
    """Convert Slice; all is an attribute before opset 10."""
    x = site.tensor()
    shape = shape_of(x)
    starts, ends = site.ints("starts", 1), site.ints("ends", 2)
    if starts is None or ends is None:
        raise site.malformed("its starts or ends are missing")
    axes = site.ints("axes", 3) or tuple(range(len(starts)))
    steps = site.ints("steps", 4) or (1,) * len(starts)
    frozen = site.builder.one_sample or site.builder.source_batch > 1
    batch = range(site.builder.source_batch if frozen else OPEN)
    taken = [batch, *(range(size) for size in shape[1:])]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not step:
            raise site.malformed("its step is 0")
        axis = site.axis(axis, len(shape))
        taken[axis] = taken[axis][start:end:step]
    if taken[0] != batch:
        raise site.unsupported("it takes some samples of the batch", "channels, rows and columns")
    if not all(taken):
        raise site.unsupported("it takes nothing", "at least one position of each axis")
    cuts = [axis for axis in range(1, len(shape)) if taken[axis] != range(shape[axis])]
    for axis in cuts:
        take = site.cut if taken[axis].step > 0 else partial(picked, site)
        x = take(x, axis, taken[axis], "" if axis == cuts[-1] else f"axis{axis}")
    return x


CONVERTERS = {"Slice": slice_}
