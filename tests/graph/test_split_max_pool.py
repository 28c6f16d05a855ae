"""Large max pools run over rows, then over columns, and mean the same."""

import pytest

from .models import check, make, node, ops


def pool(image, **attrs):
    return make([node("MaxPool", "x", "y", "p", **attrs)], {"x": [1, 3, *image]}, ["y"])


@pytest.mark.parametrize(
    ("image", "attrs", "strides"),
    [
        ((20, 20), {"kernel_shape": [13, 13], "pads": [6] * 4}, [(1, 1), (1, 1)]),
        ((7, 11), {"kernel_shape": [9, 9], "pads": [4] * 4}, [(1, 1), (1, 1)]),
        ((13, 18), {"kernel_shape": [5, 7], "pads": [1, 3, 2, 0], "strides": [2, 3]}, [(2, 1), (1, 3)]),
        ((13, 18), {"kernel_shape": [5, 5], "strides": [4, 4], "ceil_mode": 1}, [(4, 1), (1, 4)]),
    ],
    ids=["13x13", "larger_than_the_image", "uneven", "ceil"],
)
def test_rows_then_columns(image, attrs, strides):
    view = check(pool(image, **attrs))
    assert ops(view) == ["MaxPool", "MaxPool"]
    kh, kw = attrs["kernel_shape"]
    assert [n.ints("kernel_shape") for n in view.nodes] == [(kh, 1), (1, kw)]
    assert [n.ints("strides") for n in view.nodes] == strides
    assert [n.name for n in view.nodes] == ["p:rows", "p"]


@pytest.mark.parametrize("kernel", [[3, 3], [25, 1], [1, 40]])
def test_small_ones_and_single_rows_stay(kernel):
    view = check(pool((30, 50), kernel_shape=kernel))
    assert [n.ints("kernel_shape") for n in view.nodes] == [tuple(kernel)]
