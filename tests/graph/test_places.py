"""ArgMax, ArgMin and TopK of one against ONNX Runtime; of equal numbers the first is named."""

import numpy as np
import pytest
from onnx import TensorProto

from pconv.errors import UnsupportedError

from .models import FLOAT, IMAGE, INT, check, floats, make, node, normalise, ops, rand

SHAPES = [
    *((IMAGE, axis) for axis in (1, 2, 3, -1)),
    *(
        ((1, 9), 1),
        ((1, 4, 6), 1),
        ((1, 4, 6), -1),
        ((1, 2, 3, 4, 5), 1),
        ((1, 2, 3, 4, 5), 3),
        ((1, 2, 3, 4, 5), -1),
    ),
    *(((1, 1, 5, 7), 1), ((1, 6, 1, 1), 1), ((1, 1), 1), ((1, 6, 1, 9), 3)),
]
ROUNDED = node("Round", "x", "r")
"""So that many are equal."""


@pytest.mark.parametrize("keepdims", (0, 1))
@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("op", ("ArgMax", "ArgMin"))
def test_places(op, shape, axis, keepdims):
    place = node(op, "r", "y", name="n", axis=axis, keepdims=keepdims)
    view = check(make([ROUNDED, place], {"x": shape}, {"y": TensorProto.INT64}))
    assert view.types == {"y": "int64"} and view.nodes[-1].name == "n"


def test_over_channels_it_is_one_step():
    view = check(make([node("ArgMax", "x", "y", axis=1)], {"x": IMAGE}, {"y": TensorProto.INT64}))
    assert ops(view) == ["ArgMax"]


@pytest.mark.parametrize("largest", (0, 1))
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_top_one(shape, axis, largest):
    top = node("TopK", "r k", "v i", axis=axis, largest=largest)
    outputs = {"v": FLOAT, "i": TensorProto.INT64}
    view = check(make([ROUNDED, top], {"x": shape}, outputs, {"k": np.array([1], INT)}))
    assert view.types == {"i": "int64"}


def test_top_one_of_an_old_opset():
    top = node("TopK", "x", "v i", axis=1, k=1)
    check(make([top], {"x": (1, 9)}, {"v": FLOAT, "i": TensorProto.INT64}, opset=9))


@pytest.mark.parametrize(
    "attrs, message",
    [
        ({"axis": 0}, "over axis 0; allowed: any axis but the batch"),
        ({"axis": 1, "select_last_index": 1}, "select_last_index is 1; allowed: 0: the first of equal ones"),
    ],
)
def test_places_that_are_refused(attrs, message):
    with pytest.raises(UnsupportedError, match=message):
        normalise(make([node("ArgMax", "x", "y", **attrs)], {"x": IMAGE}, {"y": TensorProto.INT64}))


def test_more_than_the_largest_are_refused():
    top = node("TopK", "x k", "v i", axis=1)
    with pytest.raises(
        UnsupportedError, match=r"takes 5 of them; allowed: the largest one\. Take more outside"
    ):
        normalise(make([top], {"x": (1, 9)}, ["v"], {"k": np.array([5], INT)}))


@pytest.mark.parametrize("to", (TensorProto.INT32, TensorProto.UINT8, TensorProto.FLOAT, TensorProto.BOOL))
def test_places_in_another_type(to):
    nodes = [ROUNDED, node("ArgMax", "r", "i", axis=1), node("Cast", "i", "y", to=to)]
    check(make(nodes, {"x": IMAGE}, {"y": to}))


def test_places_move_and_count():
    """Shapes change, and sums of whole numbers stay whole."""
    nodes = [
        *(
            node("ArgMax", "x", "i", axis=1, keepdims=0),
            node("Unsqueeze", "i a", "u"),
            node("Add", "u one", "s"),
        ),
        *(
            node("Mul", "s two", "m"),
            node("Transpose", "m", "t", perm=[0, 3, 1, 2]),
            node("Slice", "t b e a", "y"),
        ),
    ]
    weights = {
        name: np.array([value], INT) for name, value in {"a": 1, "one": 1, "two": 2, "b": 2, "e": 5}.items()
    }
    check(make(nodes, {"x": IMAGE}, {"y": TensorProto.INT64, "i": TensorProto.INT64}, weights))


def test_a_place_and_the_same_as_a_float_are_two_outputs():
    nodes = [node("ArgMax", "x", "i", axis=1), node("Cast", "i", "f", to=FLOAT)]
    view = check(make(nodes, {"x": IMAGE}, {"i": TensorProto.INT64, "f": FLOAT}))
    assert view.types == {"i": "int64"}


def test_what_integers_do_otherwise_is_refused():
    nodes = [node("ArgMax", "x", "i", axis=1), node("Div", "i two", "y")]
    with pytest.raises(
        UnsupportedError, match=r"\(Div\): it computes with INT64; allowed: float types\. Cast before"
    ):
        normalise(make(nodes, {"x": IMAGE}, {"y": TensorProto.INT64}, {"two": np.array(2, INT)}))
    nodes = [node("Cast", "x", "i", to=TensorProto.UINT8), node("Add", "i i", "y")]
    with pytest.raises(UnsupportedError, match="computes with UINT8; allowed: float types, INT32 and INT64"):
        normalise(make(nodes, {"x": IMAGE}, {"y": TensorProto.UINT8}))


FLOORED = [node("Floor", "d", "y")]
CAST = [node("Reshape", "d flat", "r"), node("Cast", "r", "y", to=TensorProto.INT64)]


@pytest.mark.parametrize(
    "divided, by, after, kind, kept",
    [
        ("x", 41, FLOORED, FLOAT, True),
        ("x", 41, CAST, TensorProto.INT64, True),
        ("x", 41, [node("Greater", "d one", "y")], TensorProto.BOOL, True),
        ("x", 32, FLOORED, FLOAT, False),
        ("x", 41, [node("Cast", "d", "y", to=FLOAT)], FLOAT, False),
        ("c", 41, FLOORED, FLOAT, False),
    ],
)
def test_what_is_divided_and_then_rounded_or_compared(divided, by, after, kind, kept):
    """It is not multiplied instead, unless by a power of two, or in a convolution's weights."""
    nodes = [node("Conv", "x k", "c"), node("Div", f"{divided} w", "d"), *after]
    weights = {"w": floats(by), "one": floats(1), "k": rand(3, 3, 1, 1), "flat": np.array([1, -1], INT)}
    view = check(make(nodes, {"x": IMAGE}, {"y": kind}, weights))
    assert ("Div" in ops(view)) is kept
