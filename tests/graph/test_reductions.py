"""Reductions, softmax and norms at run time, against ONNX Runtime."""

import numpy as np
import pytest

from .models import IMAGE, INT, check, floats, make, node, ops, rand

REDUCTIONS = (
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"),
    *("ReduceL1", "ReduceL2", "ReduceSumSquare"),
)


@pytest.mark.parametrize("opset", (11, 13))
@pytest.mark.parametrize("shape, axis", [((1, 9), 1), (IMAGE, 1), (IMAGE, 3), ((1, 4, 6), 2), ((1, 4, 6), 1)])
def test_log_softmax(shape, axis, opset):
    """Far apart as well, where a softmax has nothing but zeros."""
    nodes = [node("Mul", "x far", "f"), node("LogSoftmax", "f", "y", axis=axis)]
    check(make(nodes, {"x": shape}, ["y"], {"far": floats(200)}, opset))


@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (1, 6, 20)])
def test_normalisation_at_run_time(shape):
    weights = {"s": rand(6), "b": rand(6, seed=1)}
    check(make([node("InstanceNormalization", "x s b", "y")], {"x": shape}, ["y"], weights))
    group = node("GroupNormalization", "x s b", "y", num_groups=3)
    check(make([group], {"x": shape}, ["y"], weights, opset=21))


@pytest.mark.parametrize("shape", [(1, 6), (1, 5, 7, 6), (1, 1, 1, 6)])
@pytest.mark.parametrize("inputs", ["x s", "x s b"])
def test_layer_norm_over_the_last_axis(shape, inputs):
    norm = node("LayerNormalization", inputs, "y", axis=-1, epsilon=0.1)
    check(make([norm], {"x": shape}, ["y"], {"s": rand(6), "b": rand(6, seed=1)}))


def test_layer_norm_with_one_scale_for_all():
    norm = node("LayerNormalization", "x s b", "y")
    check(make([norm], {"x": (1, 5, 7, 6)}, ["y"], {"s": floats(0.7), "b": floats(0.2)}))


def test_group_norm_of_features():
    group = node("GroupNormalization", "x s b", "y", num_groups=3)
    weights = {"s": rand(6), "b": rand(6, seed=1)}
    check(make([group], {"x": (1, 6)}, ["y"], weights, opset=21))


@pytest.mark.parametrize("opset", (11, 13))
def test_softmax_along_the_last_axis(opset):
    check(make([node("Softmax", "x", "y", axis=-1)], {"x": IMAGE}, ["y"], opset=opset))


@pytest.mark.parametrize("keepdims", (0, 1))
@pytest.mark.parametrize("axes", [[1], [2], [3], [2, 3], [1, 2], [3, 1], [1, 2, 3]])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op, axes, keepdims):
    reduction = node(op, "x", "y", name="n", axes=axes, keepdims=keepdims)
    view = check(make([reduction], {"x": IMAGE}, ["y"], opset=11))
    assert op == "ReduceL2" or view.nodes[-1].name == "n"  # whose root runs in the node before it


@pytest.mark.parametrize("keepdims", (0, 1))
@pytest.mark.parametrize(
    "shape, axes",
    [
        ((1, 7), [1]),
        ((1, 4, 6), [1]),
        ((1, 4, 6), [-1]),
        ((1, 4, 6), [1, 2]),
        ((1, 2, 3, 4, 5), [-1]),
        ((1, 2, 3, 4, 5), [1, 2]),
        ((1, 2, 3, 4, 5), [2, 3]),
        ((1, 2, 3, 4, 5), [1, 4]),
        ((1, 1, 1, 6), [1]),
    ],
)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_of_any_rank(op, shape, axes, keepdims):
    reduction = node(op, "x a", "y", keepdims=keepdims)
    check(make([reduction], {"x": shape}, ["y"], {"a": np.array(axes, INT)}, opset=18))


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceSum", "ReduceMean", "ReduceSumSquare"])
@pytest.mark.parametrize("order", ["t e", "e t"])
def test_tokens_divided_by_what_is_reduced_over_their_channels(op, order):
    """As torch normalises queries and keys: nothing is moved, and nothing repeated."""
    axes = {"axes": [-1]} if op != "ReduceSum" else {}
    nodes = [
        *(node("Reshape", "x flat", "r"), node("Transpose", "r", "t", perm=[0, 2, 1])),
        *(node(op, "t" if axes else "t last", "n", **axes), node("Clip", "n least", "c")),
        *(node("Expand", "c wide", "e"), node("Mul" if order == "e t" else "Div", order, "d")),
        *(node("Transpose", "d", "b", perm=[0, 2, 1]), node("Reshape", "b image", "y")),
    ]
    shapes = {"flat": (1, 3, 35), "wide": (1, 35, 3), "image": IMAGE, "last": [-1]}
    weights = {"least": np.float32(0.1), **{name: np.array(shape, INT) for name, shape in shapes.items()}}
    view = check(make(nodes, {"x": IMAGE}, ["y"], weights))
    assert not {"Transpose", "Resize", "GlobalAveragePool"} & {*ops(view)}
    assert [n.out_shape for n in view.nodes if n.op == "Conv"] == [(1, 1, 5, 7)]


def test_global_max_pool():
    check(make([node("GlobalMaxPool", "x", "y")], {"x": IMAGE}, ["y"]))
