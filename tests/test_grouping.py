"""Groups of alike filters: whole groups, no filter twice, and more kept than by neighbours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.grouping import alike_groups
from pconv.patterns import filter_groups


def kept(energy: np.ndarray, keep: int, groups) -> float:
    return sum(np.sort(energy[rows].sum(axis=0).max(axis=1))[-keep:].sum() for rows in groups)


@given(st.integers(1, 21), st.integers(1, 6), st.sampled_from([1, 2, 4, 8, 16]), st.data())
def test_groups_hold_every_filter_once(oc: int, ic: int, group: int, data) -> None:
    keep = data.draw(st.integers(1, ic))
    groups = alike_groups(np.random.default_rng(oc).random((oc, ic, 3)), keep, group)
    assert sorted(np.concatenate(groups).tolist()) == list(range(oc))
    assert all(len(rows) == group for rows in groups[:-1]) and 1 <= len(groups[-1]) <= group


@pytest.mark.parametrize("group", [2, 4])
def test_filters_made_alike_are_found(group: int) -> None:
    draw = np.random.default_rng(0)
    kinds = np.repeat(draw.random((4, 8, 5)), group, axis=0)
    order = draw.permutation(len(kinds))
    groups = alike_groups(kinds[order], 3, group)
    assert all(len({int(order[row]) // group for row in rows}) == 1 for rows in groups)


def test_more_is_kept_than_by_neighbours() -> None:
    energy = np.random.default_rng(1).random((32, 16, 8)) ** 4
    for group in (2, 4, 8):
        assert kept(energy, 4, alike_groups(energy, 4, group)) > 1.02 * kept(
            energy, 4, filter_groups(32, group)
        )


def test_no_energy_is_no_trouble() -> None:
    assert [rows.tolist() for rows in alike_groups(np.zeros((3, 2, 1)), 1, 2)] == [[0, 1], [2]]
