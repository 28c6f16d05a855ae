"""Windows hold all of a matrix, each block's part in its place."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pconv.lower.windows import windows


def linear(out: int, source: int) -> NDArray[np.float32]:
    """Return what interpolates, from corner to corner."""
    x = np.linspace(0, source - 1, out)
    return np.stack([np.interp(x, np.arange(source), one) for one in np.eye(source)], axis=1).astype(
        np.float32
    )


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize(("out", "source"), [(26, 13), (129, 17), (9, 31), (5, 1), (1, 6), (8, 8)])
@pytest.mark.parametrize("larger", [0, 1])
def test_they_hold_the_matrix(out: int, source: int, blocks: int, larger: int) -> None:
    matrix, positions = linear(out, source), -(-out // blocks)
    step = max(1, positions * source // out) + larger
    found = windows(matrix, blocks, positions, step)
    held = np.zeros_like(matrix)
    for i, block, tap in np.ndindex(positions, blocks, found.taps):
        weight, at = found.weights[i, tap, block], block * step + found.first[i] + tap
        if weight:
            held[block * positions + i, at] += weight
    np.testing.assert_array_equal(held, matrix)
    assert found.first.min() >= -found.before
    assert found.first.max() + found.taps <= step + found.after(step)


def test_blocks_in_proportion_need_no_more_taps_than_one() -> None:
    assert [windows(linear(224, 28), blocks, 224 // blocks, 28 // blocks).taps for blocks in (1, 4)] == [2, 3]
