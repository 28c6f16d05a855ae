"""Gather of constant places.

x[:, [2, 1, 0]]    =>    a Subsample for each run of neighbours, or of every n-th, and Concat
x[0], of the batch =>    nothing, where the model is for one sample

As torch writes as_strided behind a pooling of channels that come last:
Reshape(all in a row) -> Gather(0, 1, 2, ... in another shape)    =>    two changes of shape
"""

from collections.abc import Sequence

import onnx_ir as ir

from ..site import Operand, Site, shape_of
from .concat import joined

_MOST_RUNS = 32


def gather(site: Site) -> Operand:
    """Convert a Gather of what is computed; one of constants is folded before this."""
    x, indices = site.tensor(), site.weight(1)
    shape = shape_of(x)
    axis = site.axis(int(site.attr("axis", 0)), len(shape))
    if axis == 0:
        alone = site.builder.one_sample and indices.size == 1
        if not alone or indices.item() not in (0, -1):
            raise site.unsupported(
                "it takes samples of the batch", "the only one, or channels, rows and columns"
            )
        return site.shaped(x, (*indices.shape, *shape[1:]))
    size = shape[axis]
    places = [int(place) for place in indices.ravel()]
    if not all(-size <= place < size for place in places):
        raise site.malformed(f"it takes positions outside of {size}")
    wanted = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    taken = picked(site, x, axis, [place % size for place in places], "taken")
    if site.reads_unbatched:
        return site.shaped(taken, wanted[1:])
    return site.reshape(x, wanted) if taken is x else site.last(taken, wanted)


def picked(site: Site, x: ir.Value, axis: int, places: Sequence[int], step: str = "") -> ir.Value:
    """Append what takes positions of an axis in any order."""
    runs = _runs(places)
    if len(runs) > _MOST_RUNS:
        raise site.unsupported(f"it takes {len(runs)} runs of neighbours", f"up to {_MOST_RUNS}")
    if len(runs) == 1:
        return site.cut(x, axis, runs[0], step)
    parts = [site.cut(x, axis, run, f"{step}.run{i}".lstrip(".")) for i, run in enumerate(runs)]
    return joined(site, parts, axis, step)


def _runs(places: Sequence[int]) -> list[range]:
    """Split places into runs of neighbours, or of what lies as far apart: those of strided windows."""
    runs: list[range] = []
    for place in places:
        run = runs[-1] if runs else range(0)
        if len(run) == 1 and place > run[0]:
            runs[-1] = range(run[0], place + 1, place - run[0])
        elif len(run) > 1 and place == run[-1] + run.step:
            runs[-1] = range(run[0], place + 1, run.step)
        else:
            runs.append(range(place, place + 1))
    return runs


CONVERTERS = {"Gather": gather}
