"""FKW, filter-kernel-weight storage: the sparse layer as flat arrays, read from front to back.

    order   filter of each output, in execution order     (its plane; the layer's `oc` for a filler)
    offset  where each span's kernels start, or each slice's
    run     per visit, how many kernels each pattern has
    index   input channel of each kernel: visit by visit, in it pattern by pattern, ascending
    weight  [kernel][tap][filter of the group]          in the type that memory holds
    slot    where each span's weights start               (mixed; else each kernel has as many)
    shape   of each kernel, where kernels are not sorted by it: channels ascend, and a visit is one run

A *visit* is one group of filters on one block of input channels; a *span* is some groups that take turns on each
block, so that the block's input stays in L1. Plainly, there is one block with all channels, and a group is a span
and a visit. `by_channel`, a visit is one channel with all groups of a span, and index has each kernel's group, counted
from the span's first; or it is one block of channels, and index has group * block + channel of the block. In `slices`
of the channels there is one span, and each slice has an equal part of its visits, but for the last. Where all
groups have the same kernels (`uniform`: dense layers, removed channels), offset, run, index and shape are those of one
group. In groups of unlike filters (`mixed`, one tap), a kernel is a channel with the weights of those that keep it, and
run r is that of the filters whose bits are in r + 1. Source: PCONV / PatDNN, FKW; visits, spans, mixed groups and
weights interleaved over the group: ours.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.lower.kernels import ConvKernel
from pconv.lower.reorder import Order, Shapes


@dataclass(frozen=True, slots=True)
class Walk:
    """How a micro-kernel goes through the kernels: `block` input channels (0: all) for `span` groups in turns.

    `by_table` says that kernels are not sorted by shape, `by_channel` that those of a span's groups are sorted
    together, for one channel after another, or one block; `mixed`, that they are sorted by the filters that keep them.
    `slices` of the channels begin at an offset of their own.
    """

    block: int = 0
    span: int = 1
    by_table: bool = False
    by_channel: bool = False
    mixed: bool = False
    slices: int = 1

    @classmethod
    def of(cls, kernel: ConvKernel) -> "Walk":
        """Return how this micro-kernel goes."""
        return cls(kernel.block, kernel.span, kernel.by_table, kernel.by_channel, kernel.mixed, kernel.slices)

    def blocks(self, channels: int) -> int:
        """Count the blocks of so many input channels."""
        block = self.block or (1 if self.by_channel else channels)
        return -(-channels // block)

    def visits(self, channels: int, groups: int) -> tuple[int, int]:
        """Count the visits of a whole span, or a slice of it, and of all groups."""
        blocks = self.blocks(channels)
        if self.by_channel:
            return -(-blocks // self.slices), blocks * -(-groups // self.span)
        return self.span * blocks, groups * blocks


PLAIN = Walk()


@dataclass(frozen=True, slots=True, eq=False)
class Fkw:
    """A convolution's weights as the micro-kernels read them."""

    order: NDArray[np.uint16]
    offset: NDArray[np.uint32]
    run: NDArray[np.uint16]
    index: NDArray[np.uint16]
    shape: NDArray[np.uint8]
    weight: NDArray[Any]
    bias: NDArray[np.float32]
    uniform: bool
    group: int
    slot: NDArray[np.uint32] | None = None

    @property
    def weights_bytes(self) -> int:
        """Bytes of weights and bias."""
        return self.weight.nbytes + self.bias.nbytes

    @property
    def index_bytes(self) -> int:
        """Bytes of everything else."""
        lists = (self.order, self.offset, self.run, self.index, self.shape, self.slot)
        return sum(part.nbytes for part in lists if part is not None)

    @property
    def groups(self) -> int:
        """Number of filter groups."""
        return self.order.size // self.group


@dataclass(frozen=True, slots=True, eq=False)
class _Kernels:
    """The kept kernels of every group in the order of a walk; `entry` is what index has of each."""

    group: NDArray[np.int64]
    channel: NDArray[np.int64]
    pattern: NDArray[np.int64]
    visit: NDArray[np.int64]
    entry: NDArray[np.int64]


SIDE_BY_SIDE = 16
"""Floats of a line, or of the widest vector."""

PIECE = 1 << 16
"""Kernels whose weights are gathered at a time, to bound the memory that takes."""


def pack(
    weight: NDArray[Any],
    bias: NDArray[np.float32],
    shapes: Shapes,
    order: Order,
    walk: Walk = PLAIN,
    uniform: bool | None = None,
) -> Fkw:
    """Store a layer's weights in FKW order. Whether it is `uniform` is looked up, unless it is said.

    Shapes: `weight` [oc, ic / groups, kh, kw] in the type it is stored in, `bias` [oc].
    """
    oc, icg = weight.shape[:2]
    ids, filters = _ids(shapes, order, walk)
    kernels = _walked(ids, walk)
    if uniform is None:
        uniform = not (walk.by_channel or walk.mixed) and bool((ids == ids[0]).all())
    listed = _walked(ids[:1], walk) if uniform else kernels
    of_list = replace(walk, span=1) if uniform else walk
    of_span, visits = of_list.visits(ids.shape[1], 1 if uniform else len(ids))
    runs = (1 << order.group) - 1 if walk.mixed else 1 if walk.by_table else len(shapes.patterns)
    run = np.zeros((visits, runs), np.uint16)
    np.add.at(run, (listed.visit, 0 * listed.pattern if walk.by_table else listed.pattern), 1)
    ends = np.concatenate([[0], np.cumsum(run.sum(axis=1, dtype=np.int64))])

    taps = np.asarray(shapes.patterns, np.int64)
    bases = np.append((np.arange(oc) * (shapes.ids.shape[1] // icg) // oc) * icg, 0)
    padded = np.concatenate([weight, np.zeros((1, *weight.shape[1:]), weight.dtype)])
    parts = [np.zeros(0, weight.dtype)]
    served = _served(kernels.pattern, order.group) if walk.mixed else None
    for start in range(0, kernels.group.size, PIECE):
        piece = slice(start, start + PIECE)
        members = filters[kernels.group[piece]]
        kept = members >= 0 if served is None else served[piece]
        local = np.where(kept, kernels.channel[piece, None] - bases[members], 0)
        yx = taps[0 * kernels.pattern[piece] if walk.mixed else kernels.pattern[piece]]
        some = padded[members[:, None, :], local[:, None, :], yx[:, :, None, 0], yx[:, :, None, 1]]
        parts.append(some.ravel() if served is None else some[:, 0][served[piece]])
    flat, offset = order.filters, np.append(ends[:-1:of_span], ends[-1])
    slots = None if served is None else np.append(0, np.cumsum(served.sum(axis=1)))[offset]
    return Fkw(
        order=np.where(flat >= 0, flat, oc).astype(np.uint16),
        offset=offset.astype(np.uint32),
        run=run,
        index=listed.entry.astype(np.uint16),
        shape=(listed.pattern if walk.by_table else listed.pattern[:0]).astype(np.uint8),
        weight=np.concatenate(parts),
        bias=np.concatenate([bias, [0.0]])[flat].astype(np.float32),
        uniform=uniform,
        group=order.group,
        slot=None if slots is None else slots.astype(np.uint32),
    )


def pack_points(
    weight: NDArray[np.float32], shapes: Shapes, order: Order, walk: Walk, skips: bool = False
) -> Fkw:
    """Store a layer [oc, ic, 3, 3] whose kernels are transformed to the weights of 1x1 layers when the model is opened.

    The walk is that of such a layer, the kernels stand side by side: `weight` is [tap][kernel, filter of the group],
    filled up to whole lines, and `shape` has a number for each of these. With `skips`, points leave kernels out, each
    some shapes; then it is `uniform` where all filters have kernels of the same shapes.
    """
    oc, ic, _, width = weight.shape
    places = np.arange(1, oc * ic + 1).reshape(oc, ic, 1, 1)
    uniform = None
    if skips:
        uniform = not walk.mixed and bool((_ids(shapes, order)[0] == shapes.ids[order.filters.max()]).all())
    stored = pack(places, np.zeros(oc, np.float32), shapes.pointwise, order, walk, uniform=uniform)
    filler = -stored.weight.size % SIDE_BY_SIDE
    kernels = np.pad(stored.weight, (0, filler))
    taps = np.asarray(shapes.patterns, np.int64) @ (width, 1)
    ids = np.append(0, np.maximum(shapes.ids, 0))[kernels]
    flat = np.concatenate([np.zeros((1, weight[0, 0].size), weight.dtype), weight.reshape(oc * ic, -1)])
    number = ids
    if skips and not walk.mixed:  # what fills up a group goes where its filters go
        of_group = ids[: stored.weight.size].reshape(-1, order.group).max(axis=1, initial=0)
        number = np.pad(of_group.repeat(order.group), (0, filler))
    return replace(
        stored,
        weight=np.ascontiguousarray(flat[kernels[:, None], taps[ids]].T),
        shape=number.astype(np.uint8) if skips or len(taps) > 1 else stored.shape,
    )


def _served(runs: NDArray[np.int64], group: int) -> NDArray[np.bool_]:
    """Tell which filters of a mixed group keep kernels of these runs: [kernel, filter]."""
    return ((runs[:, None] + 1) >> np.arange(group) & 1).astype(bool)


def _ids(shapes: Shapes, order: Order, walk: Walk = PLAIN) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return the kernels [group, channel] by shape, or by who keeps them, and the filters [group, member]."""
    filters = order.filters.reshape(-1, order.group)
    if not walk.mixed:
        return shapes.ids[filters.max(axis=1)], filters
    kept = np.concatenate([shapes.ids >= 0, np.zeros((1, shapes.ids.shape[1]), bool)])[filters]
    bits = (kept << np.arange(order.group)[:, None]).sum(axis=1)
    return (bits - 1).astype(np.int16), filters


def _walked(ids: NDArray[np.int16], walk: Walk) -> _Kernels:
    """List the kept kernels of `ids` [group, channel] span by span, block by block, group by group."""
    groups, channels = ids.shape
    group, channel = np.nonzero(ids >= 0)
    pattern = ids[group, channel].astype(np.int64)
    first = group // walk.span * walk.span
    if walk.by_channel:
        size = walk.block or 1
        visit = group // walk.span * walk.blocks(channels) + channel // size
        entry = (group - first) * size + channel % size
    else:
        turns = np.minimum(walk.span, groups - first)
        block = channel // (walk.block or channels)
        visit, entry = first * walk.blocks(channels) + block * turns + group - first, channel
    order = np.lexsort((entry, 0 * pattern if walk.by_table else pattern, visit))
    return _Kernels(*(some[order] for some in (group, channel, pattern, visit, entry)))
