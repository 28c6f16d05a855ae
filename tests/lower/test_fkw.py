"""FKW loses no weight, in any order and any group."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.errors import UnsupportedError
from pconv.lower.fkw import PLAIN, Fkw, Walk, pack
from pconv.lower.reorder import (
    Shapes,
    classes,
    dense_shapes,
    kernel_shapes,
    mix_filters,
    order_filters,
    pattern_shapes,
)
from pconv.lower.storage import store
from pconv.targets import FP16

from .unpacking import unpack
from .weights import pruned_weights

GROUPS = (1, 2, 3, 4, 8)

WALKS = (
    PLAIN,
    Walk(by_table=True),
    Walk(3, 2),
    Walk(1, 5),
    Walk(4, 3, by_table=True),
    Walk(100, 7),
    Walk(span=3, by_channel=True),
    Walk(span=64, by_channel=True),
    Walk(4, 3, by_channel=True),
    Walk(8, 64, by_channel=True),
)


def packed(weight: np.ndarray, shapes: Shapes, group: int, walk: Walk = PLAIN) -> Fkw:
    bias = np.arange(weight.shape[0], dtype=np.float32)
    order = mix_filters(shapes, group) if walk.mixed else order_filters(classes(shapes), group)
    return pack(weight, bias, shapes, order, walk)


def check(weight: np.ndarray, shapes: Shapes, group: int, walk: Walk = PLAIN) -> None:
    fkw = packed(weight, shapes, group, walk)
    oc = weight.shape[0]
    np.testing.assert_array_equal(unpack(fkw, shapes, weight.shape, walk), weight)
    assert fkw.groups * group == fkw.order.size >= oc
    groups = 1 if fkw.uniform else fkw.groups
    _, visits = walk.visits(shapes.ids.shape[1], groups)
    assert fkw.run.shape == (visits, 1 if walk.by_table else len(shapes.patterns))
    assert fkw.offset.size == (1 if fkw.uniform else -(-groups // walk.span)) + 1
    assert fkw.shape.size == (fkw.index.size if walk.by_table else 0)
    assert fkw.index.size == fkw.offset[-1] == fkw.run.sum()
    listed = fkw.groups if fkw.uniform else 1
    assert fkw.weight.size == fkw.index.size * listed * shapes.taps * group
    np.testing.assert_array_equal(fkw.bias, np.where(fkw.order < oc, fkw.order, 0))
    assert fkw.index_bytes == sum(a.nbytes for a in (fkw.order, fkw.offset, fkw.run, fkw.index, fkw.shape))
    ends = np.cumsum(fkw.run.ravel())
    for first, last in zip(ends - fkw.run.ravel(), ends, strict=True):
        assert (np.diff(fkw.index[first:last].astype(int)) > 0).all(), (
            "a run's channels, groups, or both ascend"
        )


@given(pruned_weights(), st.sampled_from(GROUPS), st.sampled_from(WALKS))
def test_weights_survive(drawn: tuple[np.ndarray, int], group: int, walk: Walk) -> None:
    weight, groups = drawn
    ways = [dense_shapes(weight, groups), kernel_shapes(weight, groups), pattern_shapes(weight, groups)]
    for shapes in ways:
        if shapes is not None:
            check(weight, shapes, group, walk)


@given(pruned_weights(), st.integers(1, 4), st.sampled_from([PLAIN, Walk(3, 2), Walk(1, 5), Walk(100, 7)]))
def test_weights_of_mixed_groups_survive(drawn: tuple[np.ndarray, int], group: int, walk: Walk) -> None:
    weight, groups = drawn[0][:, :, :1, :1], drawn[1]
    shapes, walk = kernel_shapes(weight, groups), replace(walk, mixed=True)
    fkw = packed(weight, shapes, group, walk)
    np.testing.assert_array_equal(unpack(fkw, shapes, weight.shape, walk), weight)
    assert fkw.weight.size == shapes.kernels, "not one zero is stored"
    assert fkw.slot is not None and fkw.slot.size == fkw.offset.size and fkw.slot[-1] == shapes.kernels
    assert fkw.index.size == fkw.run.sum() <= shapes.kernels
    assert fkw.run.shape[1] == 2**group - 1


def test_what_filters_of_a_mixed_group_share_stands_once() -> None:
    weight = np.zeros((2, 4, 1, 1), np.float32)
    weight[0, :3, 0, 0], weight[1, 1:, 0, 0] = (1, 2, 3), (4, 5, 6)
    fkw = packed(weight, kernel_shapes(weight, 1), 2, Walk(mixed=True))
    assert fkw.run.tolist() == [[1, 1, 2]]  # of the first alone, of the second alone, of both
    assert fkw.index.tolist() == [0, 3, 1, 2]
    assert fkw.weight.tolist() == [1, 6, 2, 4, 3, 5]


@pytest.mark.parametrize("family", ["sparse", "depthwise", "pointwise", "layers"])
def test_weights_of_all_cases_survive(family: str) -> None:
    view = network(FAMILIES[family])
    for node in view.nodes:
        if node.op == "Conv":
            groups = node.integer("group")
            shapes = pattern_shapes(node.weights[1], groups) or kernel_shapes(node.weights[1], groups)
            check(node.weights[1], shapes, 1)
            check(node.weights[1], shapes, 4)


def test_weights_too_large_for_halves_are_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"c \(Conv\): a weight of 1e\+05 does not fit fp16; .* --dtype fp32"
    ):
        store(np.full((1, 1, 1, 1), 1e5, np.float32), FP16, "c (Conv)")


def test_a_span_takes_turns_on_each_block_of_channels() -> None:
    weight = np.ones((3, 4, 1, 1), np.float32) * np.array([1, 2, 3, 4], np.float32).reshape(1, 4, 1, 1)
    weight[0, 1] = weight[1, 3] = weight[2, 2] = 0
    fkw = packed(weight, kernel_shapes(weight, 1), 1, Walk(block=2, span=2))
    assert fkw.order.tolist() == [0, 1, 2]
    assert fkw.index.tolist() == [0, 0, 1, 2, 3, 2, 0, 1, 3]
    assert fkw.weight.tolist() == [1, 1, 2, 3, 4, 3, 1, 2, 4]
    assert fkw.run.ravel().tolist() == [1, 2, 2, 1, 2, 1] and fkw.offset.tolist() == [0, 6, 9]


def test_a_channel_goes_to_all_groups_of_a_span() -> None:
    weight = np.ones((3, 2, 1, 1), np.float32) * np.array([1, 2, 3], np.float32).reshape(3, 1, 1, 1)
    weight[1, 1] = 0
    fkw = packed(weight, kernel_shapes(weight, 1), 1, Walk(span=2, by_channel=True))
    assert fkw.order.tolist() == [1, 0, 2]
    assert fkw.index.tolist() == [0, 1, 1, 0, 0]
    assert fkw.weight.tolist() == [2, 1, 1, 3, 3]
    assert fkw.run.ravel().tolist() == [2, 1, 1, 1] and fkw.offset.tolist() == [0, 3, 5]


def test_equal_filters_store_one_list() -> None:
    weight = np.ones((6, 4, 3, 3), np.float32)
    weight[:, 1] = 0
    shapes = kernel_shapes(weight, 1)
    fkw = packed(weight, shapes, 4)
    assert fkw.uniform and fkw.run.tolist() == [[3]] and fkw.index.tolist() == [0, 2, 3]
    assert fkw.order.tolist() == [0, 1, 2, 3, 4, 5, 6, 6]
    weight[5, 0] = 0
    assert not packed(weight, kernel_shapes(weight, 1), 1).uniform


def test_a_layer_without_kernels_is_empty() -> None:
    weight = np.zeros((3, 2, 3, 3), np.float32)
    fkw = packed(weight, kernel_shapes(weight, 1), 1)
    assert fkw.weight.size == fkw.index.size == 0
    assert fkw.run.tolist() == [[0]] and fkw.offset.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("channels", "starts"), [(4, [0, 1, 2, 3]), (5, [0, 2, 4]), (10, [0, 3, 6, 9]), (64, [0, 16, 32, 48])]
)
def test_each_slice_of_the_channels_begins_at_its_offset(channels: int, starts: list[int]) -> None:
    weight = np.ones((3, channels, 3, 3), np.float32)
    weight[1, ::2] = 0
    fkw = packed(weight, kernel_shapes(weight, 1), 1, Walk(span=3, by_channel=True, slices=4))
    kept = np.cumsum([0, *(weight[:, c].any(axis=(1, 2)).sum() for c in range(channels))])
    assert fkw.offset.tolist() == [*kept[starts], kept[-1]]
    whole = packed(weight, kernel_shapes(weight, 1), 1, Walk(span=3, by_channel=True))
    for name in ("index", "run", "weight", "order"):
        np.testing.assert_array_equal(getattr(fkw, name), getattr(whole, name))
