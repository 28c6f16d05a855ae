"""FKW, filter-kernel-weight storage: the sparse layer as five flat arrays.

    order   filter of each output, in execution order     (its plane; the layer's `oc` for a filler)
    offset  where each group's kernels start
    run     per group, how many kernels each pattern has
    index   input channel of each kernel, pattern by pattern, ascending
    weight  [kernel][tap][filter of the group]          in the type that memory holds
    scales  a filter's factor, in execution order         (absent: a stored number is the weight itself)

Where all groups have the same kernels (`uniform`: dense layers, removed channels), offset, run and index are stored
once. Source: PCONV / PatDNN, FKW; `weight` interleaved over the group is ours, for sharing across filters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.lower.reorder import Order, Shapes


@dataclass(frozen=True, slots=True, eq=False)
class Fkw:
    """A convolution's weights as the micro-kernels read them."""

    order: NDArray[np.uint16]
    offset: NDArray[np.uint32]
    run: NDArray[np.uint16]
    index: NDArray[np.uint16]
    weight: NDArray[Any]
    bias: NDArray[np.float32]
    uniform: bool
    group: int
    scales: NDArray[np.float32] | None = None

    @property
    def weights_bytes(self) -> int:
        """Bytes of weights, bias and scales."""
        scales = 0 if self.scales is None else self.scales.nbytes
        return self.weight.nbytes + self.bias.nbytes + scales

    @property
    def index_bytes(self) -> int:
        """Bytes of everything else."""
        return self.order.nbytes + self.offset.nbytes + self.run.nbytes + self.index.nbytes

    @property
    def groups(self) -> int:
        """Number of filter groups."""
        return self.order.size // self.group


def pack(
    weight: NDArray[Any],
    bias: NDArray[np.float32],
    shapes: Shapes,
    order: Order,
    scales: NDArray[np.float32] | None = None,
) -> Fkw:
    """Store a layer's weights in FKW order.

    Shapes: `weight` [oc, ic / groups, kh, kw] in the type it is stored in, `bias` and `scales` [oc].
    """
    oc, icg = weight.shape[:2]
    filters = order.filters.reshape(-1, order.group)
    ids = shapes.ids[filters.max(axis=1)]
    uniform = bool((ids == ids[0]).all())
    listed = ids[:1] if uniform else ids
    row, channel = np.nonzero(listed >= 0)
    pattern = listed[row, channel]
    by_run = np.lexsort((channel, pattern, row))
    row, channel, pattern = row[by_run], channel[by_run], pattern[by_run]
    run = np.zeros((listed.shape[0], len(shapes.patterns)), np.uint16)
    np.add.at(run, (row, pattern), 1)
    offset = np.concatenate([[0], np.cumsum(run.sum(axis=1, dtype=np.int64))])

    taps = np.asarray(shapes.patterns, np.int64)
    bases = (np.arange(oc) * (shapes.ids.shape[1] // icg) // oc) * icg
    padded = np.concatenate([weight, np.zeros((1, *weight.shape[1:]), weight.dtype)])
    bases = np.concatenate([bases, [0]])
    parts = []
    for start in range(0, filters.shape[0], 64):
        block = np.arange(start, min(start + 64, filters.shape[0]))
        if uniform:
            rows, chans, pats = (
                np.repeat(block, row.size),
                np.tile(channel, block.size),
                np.tile(pattern, block.size),
            )
        else:
            span = slice(int(offset[block[0]]), int(offset[block[-1] + 1]))
            rows, chans, pats = row[span], channel[span], pattern[span]
        members = filters[rows]
        local = np.where(members >= 0, chans[:, None] - bases[members], 0)
        yx = taps[pats]
        parts.append(
            padded[members[:, None, :], local[:, None, :], yx[:, :, None, 0], yx[:, :, None, 1]].ravel()
        )
    flat = order.filters
    return Fkw(
        order=np.where(flat >= 0, flat, oc).astype(np.uint16),
        offset=offset.astype(np.uint32),
        run=run,
        index=channel.astype(np.uint16),
        weight=np.concatenate(parts) if parts else np.zeros(0, weight.dtype),
        bias=np.concatenate([bias, [0.0]])[flat].astype(np.float32),
        uniform=uniform,
        group=order.group,
        scales=None if scales is None else np.concatenate([scales, [1.0]])[flat].astype(np.float32),
    )


def unpack(fkw: Fkw, shapes: Shapes, weight_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the dense [oc, ic / groups, kh, kw] weights of a packed layer."""
    oc, icg = weight_shape[:2]
    dense = np.zeros(weight_shape, np.float32)
    taps = np.asarray(shapes.patterns, np.int64)
    weights = fkw.weight.reshape(-1, taps.shape[1], fkw.group)
    bases = (np.arange(oc) * (shapes.ids.shape[1] // icg) // oc) * icg
    position = 0
    for g in range(fkw.groups):
        members = fkw.order[g * fkw.group : (g + 1) * fkw.group].astype(np.int64)
        listed = 0 if fkw.uniform else g
        runs = fkw.run[listed]
        kernels = int(runs.sum())
        start = int(fkw.offset[listed])
        channels = fkw.index[start : start + kernels].astype(np.int64)
        patterns = np.repeat(np.arange(runs.size), runs)
        for lane, f in enumerate(members):
            if f < oc:
                yx = taps[patterns]
                block = weights[position : position + kernels, :, lane]
                if fkw.scales is not None:
                    block = block * fkw.scales[g * fkw.group + lane]
                dense[f, (channels - bases[f])[:, None], yx[:, :, 0], yx[:, :, 1]] = block
        position += kernels
    return dense
