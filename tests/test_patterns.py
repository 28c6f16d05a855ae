"""Patterns: text, taps, the libraries, projection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.errors import RecipeError
from pconv.patterns import (
    CENTRE,
    CENTRE3,
    LIBRARIES,
    LIBRARY_NAMES,
    Pattern,
    filter_groups,
    library,
    most_frequent,
    natural,
    project,
)

patterns = st.integers(1, 511).map(Pattern)


@given(patterns)
def test_text_and_taps_name_the_same_pattern(pattern: Pattern) -> None:
    assert Pattern.from_text(str(pattern)) == pattern
    assert len(pattern.taps) == pattern.size == pattern.mask().sum()
    assert {tuple(tap) for tap in np.argwhere(pattern.mask())} == set(pattern.taps)


def test_text_reads_from_the_top_left() -> None:
    pattern = Pattern.from_text("100/000/010")
    assert pattern.bits == 0b010_000_001
    assert pattern.taps == ((0, 0), (2, 1))


@pytest.mark.parametrize("text", ["", "111/111", "012/000/000", "010 111 000"])
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="three rows of 0 and 1"):
        Pattern.from_text(text)


@pytest.mark.parametrize("make", [lambda: Pattern(512), lambda: Pattern.from_text("000/000/000")])
def test_a_pattern_keeps_one_to_nine_weights(make) -> None:
    with pytest.raises(RecipeError, match="allowed 1 to 511"):
        make()


@pytest.mark.parametrize(
    ("name", "size"), [("elog4", 4), ("gauss4", 4), ("scp8", 8), ("centre3", 56), ("any4", 126)]
)
def test_fixed_libraries(name: str, size: int) -> None:
    shapes = library(name)
    assert len(set(shapes)) == size
    assert all(pattern.size == 4 for pattern in shapes)
    if name != "any4":
        assert all(pattern.bits >> CENTRE & 1 for pattern in shapes)


def test_the_papers_filters_come_out_of_the_shapes() -> None:
    gauss = sum(pattern.mask().astype(int) for pattern in library("gauss4"))
    assert gauss.tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    elog = sum(pattern.mask().astype(int) for pattern in library("elog4"))
    assert elog.tolist() == [[0, 3, 0], [3, 4, 3], [0, 3, 0]]


def test_unknown_library_lists_the_known() -> None:
    with pytest.raises(RecipeError, match=r'"scp9" does not exist; allowed: elog4, .*natural-12'):
        library("scp9")


def test_natural_counts_the_shapes_that_kernels_have() -> None:
    shapes = library("scp8")[:4]
    weights = np.zeros((10, 1, 3, 3), np.float32)
    for i, times in enumerate((4, 3, 2)):
        start = sum((4, 3, 2)[:i])
        weights[start : start + times, 0] = -1.0 * shapes[i].mask()  # the last kernel stays removed: no vote
    assert library("natural-4", [weights]) == shapes[:3]
    assert natural([weights], 2) == shapes[:2]


def test_natural_without_kernels_is_refused() -> None:
    with pytest.raises(RecipeError, match="natural-8: there are no 3x3 kernels"):
        library("natural-8")


@given(st.sampled_from(sorted(LIBRARIES)), st.integers(1, 7), st.integers(1, 5), st.sampled_from([1, 2, 4]))
def test_projection_is_the_best_choice_of_every_group(name: str, oc: int, ic: int, group: int) -> None:
    weights = np.random.default_rng(oc * 10 + ic).standard_normal((oc, ic, 3, 3))
    shapes = library(name)
    index = project(weights, shapes, group)
    for rows in filter_groups(oc, group):
        for i in range(ic):
            norms = [np.sum((weights[rows, i] * pattern.mask()) ** 2) for pattern in shapes]
            assert set(index[rows, i]) == {int(np.argmax(norms))}


@given(st.integers(1, 40), st.integers(1, 16))
def test_groups_cut_the_filters_into_runs(oc: int, group: int) -> None:
    groups = filter_groups(oc, group)
    assert np.concatenate(groups).tolist() == list(range(oc))
    assert all(len(rows) == group for rows in groups[:-1]) and 1 <= len(groups[-1]) <= group


def test_every_name_is_found() -> None:
    weights = [np.random.default_rng(0).standard_normal((32, 32, 3, 3))]
    for name in LIBRARY_NAMES:
        expected = int(name.split("-")[1]) if "-" in name else len(LIBRARIES[name])
        assert len(library(name, weights)) == expected


def test_shrinking_libraries_need_training() -> None:
    with pytest.raises(
        RecipeError, match='"shrinking-8" is found while training, with method="gradual" or "admm"'
    ):
        library("shrinking-8")


def test_the_rarest_shapes_are_dropped() -> None:
    weights = np.zeros((4, 3, 3, 3))
    for i, shape in enumerate([CENTRE3[5]] * 6 + [CENTRE3[9]] * 3 + [CENTRE3[2]] * 2):
        weights[i % 4, i // 4] = shape.mask()
    assert most_frequent([weights], CENTRE3, 2) == (CENTRE3[5], CENTRE3[9])
    assert most_frequent([weights], CENTRE3, 3) == (CENTRE3[2], CENTRE3[5], CENTRE3[9])
    assert most_frequent([weights], CENTRE3, 56) == CENTRE3
