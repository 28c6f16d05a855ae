"""A packed layer read as a micro-kernel reads it: visit by visit, from front to back."""

from collections.abc import Iterator

import numpy as np

from pconv.lower.fkw import PLAIN, Fkw, Walk
from pconv.lower.reorder import Shapes


def unpack(
    fkw: Fkw,
    shapes: Shapes,
    weight_shape: tuple[int, ...],
    walk: Walk = PLAIN,
) -> np.ndarray:
    """Return the dense [oc, ic / groups, kh, kw] weights of a packed layer."""
    oc, icg = weight_shape[:2]
    dense = np.zeros((oc + 1, *weight_shape[1:]), np.float32)
    taps = np.asarray(shapes.patterns, np.int64)
    bases = np.append((np.arange(oc) * (shapes.ids.shape[1] // icg) // oc) * icg, 0)
    filters = fkw.order.reshape(-1, fkw.group).astype(np.int64)
    weights, kept = _interleaved(fkw, taps.shape[1])
    starts = np.concatenate([[0], np.cumsum(fkw.run.sum(axis=1, dtype=np.int64))])
    position = 0
    for visit, group, channel in _visits(fkw, walk, shapes.ids.shape[1]):
        span = slice(int(starts[visit]), int(starts[visit + 1]))
        entries = fkw.index[span].astype(np.int64)
        here = position + np.arange(entries.size)
        position += entries.size
        sorted_by = np.repeat(np.arange(fkw.run.shape[1]) * (not walk.mixed), fkw.run[visit])
        yx = taps[fkw.shape[span].astype(np.int64) if walk.by_table else sorted_by]
        groups, channels = np.full_like(entries, group), entries
        if walk.by_channel:
            groups, channels = group + entries // (walk.block or 1), channel + entries % (walk.block or 1)
        for lane in range(fkw.group):
            f = np.where(kept[here, lane], filters[groups, lane], oc)
            local = np.where(f < oc, channels - bases[f], 0)
            dense[f[:, None], local[:, None], yx[:, :, 0], yx[:, :, 1]] = weights[here, :, lane]
    return dense[:oc]


def _interleaved(fkw: Fkw, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights [kernel, tap, filter of the group], and which filters keep each kernel."""
    if fkw.slot is None:
        weights = fkw.weight.reshape(-1, taps, fkw.group)
        return weights, np.ones((len(weights), fkw.group), bool)
    numbers = np.tile(np.arange(fkw.run.shape[1]), len(fkw.run))
    bits = np.repeat(numbers, fkw.run.ravel()) + 1
    kept = (bits[:, None] >> np.arange(fkw.group) & 1).astype(bool)
    spread = np.zeros(kept.shape, fkw.weight.dtype)
    spread[kept] = fkw.weight
    return spread[:, None], kept


def _visits(fkw: Fkw, walk: Walk, channels: int) -> Iterator[tuple[int, int, int]]:
    """Give the visits in the order of the weights: the run's row, the (first) group and, by channel, the first one."""
    blocks = walk.blocks(channels)
    for first in range(0, fkw.groups, walk.span):
        groups = range(first, min(first + walk.span, fkw.groups))
        if walk.by_channel:
            starts = range(0, channels, walk.block or 1)
            yield from ((first // walk.span * blocks + b, first, c) for b, c in enumerate(starts))
            continue
        for b in range(blocks):
            for i, group in enumerate(groups):
                yield b if fkw.uniform else first * blocks + b * len(groups) + i, group, 0
