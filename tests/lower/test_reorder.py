"""FKR puts filters in an order that changes nothing; shapes are read off the zeros."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pconv.lower.reorder import (
    MAX_PATTERNS,
    REMOVED,
    Shapes,
    all_taps,
    classes,
    dense_shapes,
    expand_groups,
    kernel_shapes,
    mix_filters,
    order_filters,
    pattern_shapes,
)
from pconv.patterns import LIBRARIES

from .weights import pruned_weights


def covers(shapes: Shapes, weight: np.ndarray, groups: int) -> None:
    """Check that every non-zero weight lies under its kernel's pattern, and all zero kernels are removed."""
    oc, icg = weight.shape[:2]
    assert shapes.ids.shape == (oc, icg * groups)
    for f in range(oc):
        first = f * groups // oc * icg
        row = shapes.ids[f]
        assert (np.delete(row, np.arange(first, first + icg)) == REMOVED).all()
        for i in range(icg):
            kernel, number = weight[f, i], row[first + i]
            taps = set() if number == REMOVED else set(shapes.patterns[number])
            assert set(zip(*map(np.ndarray.tolist, np.nonzero(kernel)), strict=True)) <= taps


@given(pruned_weights())
def test_patterns_cover_all_weights(drawn: tuple[np.ndarray, int]) -> None:
    weight, groups = drawn
    shapes = pattern_shapes(weight, groups)
    assume(shapes is not None)
    assert shapes is not None
    covers(shapes, weight, groups)
    assert len({len(taps) for taps in shapes.patterns}) == 1
    assert shapes.taps == max(int(n) for n in np.count_nonzero(weight, axis=(2, 3)).flat)
    assert len(set(shapes.patterns)) == len(shapes.patterns) <= MAX_PATTERNS
    assert set(shapes.ids.ravel().tolist()) - {REMOVED} == set(range(len(shapes.patterns)))
    assert shapes.kernels == int((weight != 0).any(axis=(2, 3)).sum())


@given(pruned_weights())
def test_connectivity_and_dense_cover_all_weights(drawn: tuple[np.ndarray, int]) -> None:
    weight, groups = drawn
    kept, dense = kernel_shapes(weight, groups), dense_shapes(weight, groups)
    covers(kept, weight, groups)
    covers(dense, weight, groups)
    assert kept.patterns == dense.patterns == (all_taps(*weight.shape[2:]),)
    assert kept.kernels == int((weight != 0).any(axis=(2, 3)).sum())
    assert dense.kernels == weight.shape[0] * weight.shape[1]


def kernels_of(*masks: str) -> np.ndarray:
    """Return one filter whose kernels have these rows of bits."""
    bits = [[int(b) for b in mask.replace("/", "")] for mask in masks]
    return np.array(bits, np.float32).reshape(1, -1, 3, 3)


def test_a_shorter_shape_becomes_the_most_frequent_longer_one() -> None:
    often, seldom = "010/111/000", "010/110/010"
    shapes = pattern_shapes(kernels_of(often, often, seldom, "010/110/000", "000/000/001"), 1)
    assert shapes is not None
    ids = shapes.ids[0].tolist()
    assert ids[3] == ids[0] == ids[1] != ids[2]
    assert set(shapes.patterns[ids[4]]) > {(2, 2)} and shapes.taps == 4


def test_a_zero_by_chance_keeps_a_layer_dense() -> None:
    weight = np.ones((2, 3, 3, 3), np.float32)
    weight[1, 1, 2, 0] = 0
    shapes = pattern_shapes(weight, 1)
    assert shapes is not None and shapes.patterns == (all_taps(3, 3),)


def test_every_choice_of_four_taps_is_allowed() -> None:
    shapes = pattern_shapes(kernels_of(*map(str, LIBRARIES["any4"])), 1)
    assert shapes is not None and len(shapes.patterns) == MAX_PATTERNS


def test_more_shapes_than_allowed() -> None:
    taps = list(combinations(range(25), 2))[: MAX_PATTERNS + 1]
    weight = np.zeros((1, len(taps), 25), np.float32)
    np.put_along_axis(weight[0], np.array(taps), 1, axis=1)
    allowed = pattern_shapes(weight[:, :MAX_PATTERNS].reshape(1, -1, 5, 5), 1)
    assert allowed is not None and len(allowed.patterns) == MAX_PATTERNS
    assert pattern_shapes(weight.reshape(1, -1, 5, 5), 1) is None


@pytest.mark.parametrize("weight", [np.zeros((4, 3, 3, 3), np.float32), np.ones((1, 1, 8, 8), np.float32)])
def test_no_shapes_at_all(weight: np.ndarray) -> None:
    """Where every kernel is removed, and where kernels are too large to have shapes."""
    assert pattern_shapes(weight, 1) is None


@given(pruned_weights(), st.sampled_from([1, 2, 3, 4, 6, 8]), st.booleans())
def test_order_is_a_permutation_of_like_filters(
    drawn: tuple[np.ndarray, int], group: int, dense: bool
) -> None:
    weight, groups = drawn
    shapes = dense_shapes(weight, groups) if dense else kernel_shapes(weight, groups)
    order = order_filters(classes(shapes), group)
    filters = order.filters
    assert filters.size % group == 0
    assert sorted(filters[filters >= 0].tolist()) == list(range(weight.shape[0]))
    assert set(filters[filters < 0].tolist()) <= {REMOVED}
    for together in filters.reshape(-1, group):
        members = together[together >= 0]
        assert members.size > 0
        assert (shapes.ids[members] == shapes.ids[members[0]]).all()


def test_filters_with_fewer_kernels_come_first() -> None:
    weight = np.zeros((3, 4, 1, 1), np.float32)
    weight[0, :3], weight[1, :1], weight[2, 1:3] = 1, 1, 1
    order = order_filters(classes(kernel_shapes(weight, 1)), 1)
    assert order.filters.tolist() == [1, 2, 0]


@given(pruned_weights(), st.integers(1, 4))
def test_mixed_groups_hold_every_filter_once(drawn: tuple[np.ndarray, int], group: int) -> None:
    weight, groups = drawn
    order = mix_filters(kernel_shapes(weight, groups), group)
    assert order.filters.size % group == 0 and order.filters.size < len(weight) + group
    assert sorted(order.filters[order.filters >= 0]) == list(range(len(weight)))
    assert (order.filters[: len(weight)] >= 0).all()


def test_mixed_groups_hold_filters_with_channels_in_common() -> None:
    weight = np.zeros((4, 6, 1, 1), np.float32)
    for f, channels in enumerate([(0, 1, 2), (3, 4, 5), (0, 1, 5), (2, 3, 4)]):
        weight[f, channels] = 1
    assert mix_filters(kernel_shapes(weight, 1), 2).filters.tolist() == [0, 2, 1, 3]


def test_groups_are_spread_over_all_channels() -> None:
    ids = np.array([[0, 1], [2, 3]], np.int16)
    np.testing.assert_array_equal(expand_groups(ids, 2), [[0, 1, -1, -1], [-1, -1, 2, 3]])
