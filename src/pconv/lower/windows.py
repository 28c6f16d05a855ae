"""One axis of a resize, block by block: where each position's window of source positions begins, and its weights.

    block 0 takes of source block 0 ...      position i of every block takes, of its own block of the source,
    block 1 takes of source block 1 ...      first[i], first[i] + 1, ..., with weights that the blocks have apart

All windows are as long as the longest; what a block has no use for, weighs 0 there. Source: ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """`first` [positions] counts from a source block's begin, and may lie before it; `weights` are [positions, taps,
    blocks].
    """

    first: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def taps(self) -> int:
        """Source positions of each window."""
        return int(self.weights.shape[1])

    @property
    def before(self) -> int:
        """How many positions windows reach before a block."""
        return max(0, -int(self.first.min()))

    def after(self, block: int) -> int:
        """Count how many positions windows reach beyond a block of so many."""
        return max(0, int(self.first.max()) + self.taps - block)


def windows(matrix: NDArray[np.float32], blocks: int, positions: int, step: int) -> Windows:
    """Cut `matrix` [out, source], each row the weights of an output, for blocks of so many `positions`.

    The blocks of the source begin `step` apart.
    """
    out, source = matrix.shape
    lines = np.zeros((blocks, positions, source), np.float32)
    lines.reshape(-1, source)[:out] = matrix
    starts = np.arange(blocks) * step
    used = lines != 0
    some = used.any(axis=2)
    first = np.argmax(used, axis=2) - starts[:, None]
    last = source - np.argmax(used[:, :, ::-1], axis=2) - starts[:, None]
    begins = np.where(some, first, source).min(axis=0)
    ends = np.where(some, last, -blocks * step).max(axis=0)
    taps = int((ends - begins).max())
    begins = np.minimum(begins, ends.max() - taps)  # none reaches further than the furthest
    taken = begins[:, None] + np.arange(taps) + starts[:, None, None]
    inside = (taken >= 0) & (taken < source)
    weights = np.where(inside, np.take_along_axis(lines, np.clip(taken, 0, source - 1), axis=2), 0)
    return Windows(begins, np.moveaxis(weights, 0, 2))
