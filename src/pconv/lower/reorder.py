"""FKR, filter-kernel reorder: filters alike stand together, kernels of one shape stand together.

    filter 0: ch0=L ch2=T          group 0 = filters (0, 3): L: ch0   T: ch2
    filter 1: ch1=T ch3=T    ->    group 1 = filters (1, 2): T: ch1, ch3
    filter 2: ch1=T ch3=T
    filter 3: ch0=L ch2=T          inside a group one branch-free run per shape

Filters whose kernels agree in channel and shape share a group, so grouping never adds work. Of 1x1 layers, filters that
agree in some channels may share one too (`mixed`): what a channel brings is loaded once for all that keep it.
Source: PCONV and PatDNN, filter kernel reorder.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pconv.lower.kernels import Taps

MAX_PATTERNS = 126
"""Every choice of four out of nine taps."""
REMOVED = -1
NEAR_FILTERS = 3 << 10
"""Filters among which mixed groups are found: a multiple of all their sizes, and few enough to compare all pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """A layer's kernels by shape: `ids` [oc, ic] is a pattern's number or -1 for a removed kernel.

    `ic` counts the input channels of the whole layer, also in a grouped convolution.
    """

    patterns: tuple[Taps, ...]
    ids: NDArray[np.int16]

    @property
    def taps(self) -> int:
        """Weights per kept kernel."""
        return len(self.patterns[0])

    @property
    def kernels(self) -> int:
        """Kept kernels."""
        return int((self.ids >= 0).sum())

    @property
    def pointwise(self) -> "Shapes":
        """The same connectivity, of a 1x1 layer."""
        return Shapes((((0, 0),),), np.minimum(self.ids, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Filters in execution order, `group` at a time; -1 fills up the last group."""

    group: int
    filters: NDArray[np.int64]


def all_taps(kh: int, kw: int) -> Taps:
    """Return the pattern that keeps everything."""
    return tuple((y, x) for y in range(kh) for x in range(kw))


def expand_groups(ids: NDArray[np.int16], groups: int) -> NDArray[np.int16]:
    """Spread the [oc, ic / groups] kernels of a grouped convolution over all its input channels."""
    if groups == 1:
        return ids
    oc, icg = ids.shape
    full = np.full((oc, icg * groups), REMOVED, np.int16)
    for g in range(groups):
        rows = slice(g * oc // groups, (g + 1) * oc // groups)
        full[rows, g * icg : (g + 1) * icg] = ids[rows]
    return full


def dense_shapes(weight: NDArray[np.float32], groups: int) -> Shapes:
    """Read a layer as one pattern of all taps, with every kernel kept."""
    oc, icg, kh, kw = weight.shape
    return Shapes((all_taps(kh, kw),), expand_groups(np.zeros((oc, icg), np.int16), groups))


def kernel_shapes(weight: NDArray[np.float32], groups: int) -> Shapes:
    """Read connectivity only: kept kernels have all their taps."""
    kept = (weight != 0).any(axis=(2, 3))
    ids = np.where(kept, 0, REMOVED).astype(np.int16)
    return Shapes((all_taps(*weight.shape[2:]),), expand_groups(ids, groups))


def pattern_shapes(weight: NDArray[np.float32], groups: int) -> Shapes | None:
    """Read connectivity and patterns from the zeros; None when the zeros form too many shapes.

    All patterns get the length of the longest: a shorter one becomes the most frequent longer one that covers it,
    so a weight that happens to be zero does not make a shape of its own.
    """
    oc, icg, kh, kw = weight.shape
    if kh * kw > 62:
        return None
    place = 1 << np.arange(kh * kw, dtype=np.int64)
    bits = ((weight != 0).reshape(oc, icg, -1) * place).sum(-1)
    found, counts = np.unique(bits[bits != 0], return_counts=True)
    if found.size == 0:
        return None
    by_count = [int(b) for b in found[np.argsort(-counts, kind="stable")]]
    length = max(b.bit_count() for b in by_count)
    full = [b for b in by_count if b.bit_count() == length]
    if len(full) > MAX_PATTERNS:
        return None
    cover: dict[int, int] = {}
    for b in by_count:
        wider = next((f for f in full if b & f == b), None)
        if wider is None:
            wider = b
            for position in range(kh * kw):
                if wider.bit_count() < length:
                    wider |= 1 << position
            full.append(wider)
            if len(full) > MAX_PATTERNS:
                return None
        cover[b] = wider
    used = sorted(set(cover.values()))
    number = {b: used.index(wide) for b, wide in cover.items()}
    ids = np.full(bits.shape, REMOVED, np.int16)
    for b, n in number.items():
        ids[bits == b] = n
    taps = tuple(tuple((i // kw, i % kw) for i in range(kh * kw) if b >> i & 1) for b in used)
    return Shapes(taps, expand_groups(ids, groups))


def classes(shapes: Shapes) -> list[NDArray[np.int64]]:
    """Return sets of filters with the same kernels, in order of kernels kept and then of likeness."""
    alike: dict[bytes, list[int]] = {}
    for i, row in enumerate(shapes.ids):
        alike.setdefault(row.tobytes(), []).append(i)

    def rank(filters: NDArray[np.int64]) -> tuple[int, ...]:
        row = shapes.ids[filters[0]]
        histogram = np.bincount(row[row >= 0], minlength=len(shapes.patterns))
        return int((row >= 0).sum()), *(-int(n) for n in histogram), int(filters[0])

    return sorted((np.array(filters, np.int64) for filters in alike.values()), key=rank)


def order_filters(members: list[NDArray[np.int64]], group: int) -> Order:
    """Put filters in execution order in groups of like filters, each class filled up to whole groups with -1."""
    parts = []
    for m in members:
        parts.append(np.concatenate([m, np.full(-m.size % group, REMOVED, np.int64)]))
    return Order(group, np.concatenate(parts))


def mix_filters(shapes: Shapes, group: int) -> Order:
    """Put filters in execution order in groups of any filters, each of those that have most channels in common.

    From the first filter on, a group takes the one of the next `NEAR_FILTERS` that shares most with those it has.
    Source: ours.
    """
    kept, found = (shapes.ids >= 0).astype(np.float32), list[int]()
    for start in range(0, len(kept), NEAR_FILTERS):
        some = kept[start : start + NEAR_FILTERS]
        common, left = some @ some.T, np.ones(len(some), bool)
        while left.any():
            chosen, shared = int(np.argmax(left)), np.zeros(len(some), np.float32)
            for _ in range(min(group, int(left.sum()))):
                found.append(start + chosen)
                left[chosen] = False
                shared += common[chosen]
                chosen = int(np.argmax(np.where(left, shared, -1)))
    return Order(group, np.array(found + [REMOVED] * (-len(found) % group), np.int64))
