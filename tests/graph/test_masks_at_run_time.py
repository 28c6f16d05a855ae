"""Comparisons, logic and choices between two values, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import TensorProto

from pconv.errors import ModelError, UnsupportedError

from .models import FLOAT, IMAGE, check, floats, make, node, normalise, ops, rand

BOOL = TensorProto.BOOL
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
ROUNDED = [node("Round", "x", "r"), node("Round", "z", "s")]
SHAPES = [IMAGE, (1, 1, 1, 1), (1, 9), (1, 1), (1, 3, 4)]


@pytest.mark.parametrize("inputs", ("r one", "one r", "r r", "r image", "image r"))
@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_with_a_constant(op, inputs):
    weights = {"one": floats(1)[0], "image": np.round(rand(3, 5, 7))}
    view = check(make([ROUNDED[0], node(op, inputs, "y", name="n")], {"x": IMAGE}, {"y": BOOL}, weights))
    assert view.types == {"y": "bool"} and view.nodes[-1].name.startswith("n")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_two(op, shape):
    check(make([*ROUNDED, node(op, "r s", "y")], {"x": shape, "z": shape}, {"y": BOOL}))


@pytest.mark.parametrize("other", [(1, 3, 1, 1), (1, 1, 5, 7), (1, 1, 1, 1)])
@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_different_shapes(op, other):
    for inputs in ("r s", "s r"):
        check(make([*ROUNDED, node(op, inputs, "y")], {"x": IMAGE, "z": other}, {"y": BOOL}))


def test_a_threshold_runs_inside_the_convolution():
    nodes = [node("Conv", "x w", "c"), node("Greater", "c t", "m"), node("Cast", "m", "y", to=FLOAT)]
    view = check(make(nodes, {"x": IMAGE}, ["y"], {"w": rand(4, 3, 1, 1), "t": floats(0.25)}))
    assert ops(view) == ["Conv"] and view.nodes[0].attrs["act_min"] == 0.25


@pytest.mark.parametrize("op", ("And", "Or", "Xor"))
def test_logic(op):
    masks = [node("Greater", "x t", "a"), node("Less", "z t", "b")]
    weights = {"t": floats(0.25), "c": np.array([True, False, True]).reshape(3, 1, 1)}
    for inputs in ("a b", "b c"):
        check(make([*masks, node(op, inputs, "y")], {"x": IMAGE, "z": IMAGE}, {"y": BOOL}, weights))
    both = [*masks, node(op, "a b", "m"), node("Not", "m", "y")]
    check(make(both, {"x": IMAGE, "z": (1, 3, 1, 1)}, {"y": BOOL}, weights))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "inputs", ("x z", "x two", "two x", "two five", "zero x", "x zero", "two zero", "zero zero")
)
def test_where(inputs, shape):
    nodes = [node("Less", "x t", "m"), node("Where", f"m {inputs}", "y", name="n")]
    weights = {"t": floats(0.25)} | {name: floats(value)[0] for name, value in NUMBERS.items()}
    view = check(make(nodes, {"x": shape, "z": shape}, ["y"], weights))
    assert view.nodes[-1].name == "n"


NUMBERS = {"two": 2.3, "five": -5.7, "zero": 0.0}


@pytest.mark.parametrize("inputs", ("x w", "w x", "w v"))
def test_where_of_constants_of_any_shape(inputs):
    nodes = [node("Less", "x t", "m"), node("Where", f"m {inputs}", "y")]
    weights = {"t": floats(0.25), "w": rand(3, 1, 1), "v": rand(1, 3, 5, 7)}
    check(make(nodes, {"x": IMAGE}, ["y"], weights))


@pytest.mark.parametrize("mask", [(1, 3, 1, 1), (1, 1, 5, 7), (1, 1, 1, 1)])
def test_where_with_a_mask_of_fewer_sizes(mask):
    nodes = [node("Less", "z t", "m"), node("Where", "m x two", "y"), node("Where", "m x x", "v")]
    check(make(nodes, {"x": IMAGE, "z": mask}, ["y", "v"], {"t": floats(0.25), "two": floats(2)}))


@pytest.mark.parametrize("inputs", ("x z", "x two", "two x"))
def test_where_with_a_constant_mask(inputs):
    weights = {"m": rand(1, 1, 5, 7) > 0, "two": floats(2)}
    check(make([node("Where", f"m {inputs}", "y")], {"x": IMAGE, "z": IMAGE}, ["y"], weights))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("chosen", (False, True))
def test_where_with_one_truth_for_all(chosen):
    where = node("Where", "m c x", "y")
    check(make([where], {"x": IMAGE}, ["y"], {"m": np.array(chosen), "c": rand(7)}))


def test_what_is_not_chosen_may_be_no_number():
    """log of numbers below 0, and a division by zero, that a mask hides."""
    nodes = [
        *(node("Log", "x", "l"), node("Greater", "x t", "m"), node("Where", "m l x", "a")),
        *(node("Sub", "x x", "n"), node("Div", "x n", "i"), node("Where", "m x i", "b")),
        node("Where", "m b a", "y"),
    ]
    check(make(nodes, {"x": IMAGE}, ["y", "a"], {"t": floats(0)}))


def test_masks_choose_places():
    nodes = [
        *(node("ArgMax", "x", "i", axis=1), node("Equal", "i two", "m"), node("Where", "m i zero", "y")),
        node("Where", "m two zero", "z"),
    ]
    weights = {"two": np.array(2), "zero": np.array(0)}
    outputs = {"y": TensorProto.INT64, "z": TensorProto.INT64, "m": BOOL}
    assert check(make(nodes, {"x": IMAGE}, outputs, weights)).types == {
        "y": "int64",
        "z": "int64",
        "m": "bool",
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", ("Floor", "Ceil", "Round", "Sign"))
def test_steps(op, shape):
    """Halves go to the even number; several of each sign."""
    check(make([node("Mul", "x f", "m"), node(op, "m", "y")], {"x": shape}, ["y"], {"f": floats(3)}))
    half = [node("Mul", "x f", "m"), node("Round", "m", "r"), node("Mul", "r h", "g"), node(op, "g", "y")]
    check(make(half, {"x": shape}, ["y"], {"f": floats(5), "h": floats(0.5)}))


@pytest.mark.parametrize("to", (TensorProto.INT64, TensorProto.INT8, BOOL))
def test_floats_become_integers(to):
    nodes = [
        node("Mul", "x f", "m"),
        node("Floor", "m", "w"),
        node("Mul", "w h", "g"),
        node("Cast", "g", "y", to=to),
    ]
    check(make(nodes, {"x": IMAGE}, {"y": to}, {"f": floats(5), "h": floats(0.5)}))


def test_what_cannot_be_is_refused():
    infinite = {"t": floats(0), "i": np.array(-np.inf, np.float32)}
    nodes = [node("Less", "x t", "m"), node("Where", "m x i", "y")]
    with pytest.raises(
        UnsupportedError, match=r"a constant that is not finite; allowed: finite ones, such as -1e9"
    ):
        normalise(make(nodes, {"x": IMAGE}, ["y"], infinite))
    nothing = [node("Greater", "x t", "y")]
    with pytest.raises(ModelError, match="initialiser t: 1 of 1 values are NaN"):
        normalise(make(nothing, {"x": IMAGE}, {"y": BOOL}, {"t": floats(np.nan)}))


def test_an_image_whose_channels_come_last_is_masked_where_it_was():
    nodes = [
        *(
            node("Conv", "x w", "c"),
            node("Transpose", "c", "l", perm=[0, 2, 3, 1]),
            node("Greater", "l t", "m"),
        ),
        *(
            node("Where", "m l z", "k"),
            node("Transpose", "k", "f", perm=[0, 3, 1, 2]),
            node("Conv", "f w", "y"),
        ),
    ]
    view = check(make(nodes, {"x": IMAGE}, ["y"], {"w": rand(3, 3, 1, 1), "t": floats(0.25), "z": floats(0)}))
    assert ops(view) == ["Conv", "Activation", "Keep", "Conv"]
