"""Slice of channels, rows or columns -> Subsample."""

from ..site import Operand, Site, shape_of


def slice_(site: Site) -> Operand:
    """Convert Slice; all is an attribute before opset 10."""
    x = site.tensor()
    shape = shape_of(x)
    starts, ends = site.ints("starts", 1), site.ints("ends", 2)
    if starts is None or ends is None:
        raise site.malformed("its starts or ends are missing")
    axes = site.ints("axes", 3) or tuple(range(len(starts)))
    steps = site.ints("steps", 4) or (1,) * len(starts)
    batch = site.builder.source_batch
    taken = [range(batch), *(range(size) for size in shape[1:])]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise site.unsupported(f"step {step}", "steps of at least 1")
        axis = site.axis(axis, len(shape))
        taken[axis] = taken[axis][start:end:step]
    if len(taken[0]) != batch:
        raise site.unsupported("it takes some samples of the batch", "channels, rows and columns")
    if all(len(picked) == size for picked, size in zip(taken[1:], shape[1:], strict=True)):
        return x
    if len(shape) != 4:
        raise site.unsupported(f"its input has shape {list(shape)}", "4 dimensions [n, c, h, w]")
    _, c, h, w = taken
    if not c or not h or not w:
        raise site.unsupported("it takes nothing", "at least one row, column and channel")
    if c.step != 1:
        raise site.unsupported(f"step {c.step} over channels", "1 over channels; any over rows and columns")
    return site.emit(
        "Subsample",
        [x],
        (1, len(c), len(h), len(w)),
        starts=(c.start, h.start, w.start),
        steps=(h.step, w.step),
        sizes=(len(c), len(h), len(w)),
    )


CONVERTERS = {"Slice": slice_}
