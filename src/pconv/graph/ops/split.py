"""Split -> one Subsample for each part."""

from itertools import accumulate

from ..site import Operand, Site, shape_of


def split(site: Site) -> list[Operand]:
    """Convert Split; its sizes are an input from opset 13 on."""
    x = site.tensor()
    shape, parts = shape_of(x), len(site.node.outputs)
    axis = site.axis(int(site.attr("axis", 0)), len(shape))
    if axis == 0:
        raise site.unsupported("it splits the batch", "any other axis")
    each = -(-shape[axis] // parts)
    sizes = site.ints("split", 1) or [
        min(each, shape[axis] - start) for start in range(0, each * parts, each)
    ]
    if min(sizes) == 0:
        raise site.unsupported(f"its sizes are {list(sizes)}", "at least 1 for each part")
    if len(sizes) != parts or sum(sizes) != shape[axis] or min(sizes) < 0:
        raise site.malformed(f"its sizes {list(sizes)} are not {parts} parts of {shape[axis]}")
    starts = accumulate(sizes, initial=0)
    return [
        site.cut(x, axis, range(start, start + size), f"part{i}")
        for i, (start, size) in enumerate(zip(starts, sizes, strict=False))
    ]


CONVERTERS = {"Split": split}
