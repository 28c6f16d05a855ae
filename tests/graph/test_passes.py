"""What is fused, what must not be, and that the numbers stay."""

import numpy as np
import pytest

from pconv import graph
from pconv.graph.passes.check_normalised import check_normalised

from .models import check, make, node, normalise, ops, rand

X = {"x": (1, 4, 8, 8)}
W = {"w": rand(4, 4, 3, 3), "w2": rand(4, 4, 3, 3, seed=1), "b": rand(4)}
PADS = {"pads": [1, 1, 1, 1]}
BN = {"g": rand(4), "h": rand(4, seed=1), "m": rand(4, seed=2), "v": np.abs(rand(4, seed=3)) + 0.5}


def conv(inputs, output, **attrs):
    return node("Conv", inputs, output, name=f"conv_{output}", **PADS | attrs)


def run(nodes, outputs="y", weights=None):
    return check(make(nodes, X, outputs.split(), W | BN | (weights or {})))


@pytest.mark.parametrize("inputs", ("x w", "x w b"))
def test_batch_norm_folds_into_the_convolution_before(inputs):
    view = run([conv(inputs, "c"), node("BatchNormalization", "c g h m v", "y")])
    assert [(n.name, n.op, n.output) for n in view.nodes] == [("conv_c", "Conv", "y")]


def test_batch_norm_folds_into_gemm_and_keeps_zeros():
    w = rand(4, 6)
    w[1] = 0
    nodes = [node("Gemm", "x w b", "f", transB=1), node("BatchNormalization", "f g h m v", "y")]
    view = check(make(nodes, {"x": (1, 6)}, ["y"], {"w": w, "b": rand(4)} | BN))
    assert ops(view) == ["Gemm"] and not view.nodes[0].weights[1][1].any()


def test_chains_of_scales_become_one_affine():
    nodes = [node("Sub", "x m3", "a"), node("Div", "a s3", "y")]
    view = run(nodes, weights={"m3": rand(1, 4, 1, 1), "s3": np.float32(3.0).reshape(())})
    assert ops(view) == ["Affine"]


def test_batch_norm_stays_where_the_convolution_is_read_twice():
    view = run([conv("x w", "c"), node("BatchNormalization", "c g h m v", "n"), node("Add", "n c", "y")])
    assert sorted(ops(view)) == ["Add", "Affine", "Conv"]


def test_activation_fuses_into_every_host():
    nodes = [conv("x w b", "c"), node("Relu", "c", "r"), node("Mul", "r x", "k"), node("Tanh", "k", "t")]
    nodes += [node("BatchNormalization", "t g h m v", "n"), node("Clip", "n low high", "y")]
    bounds = {"low": np.float32(0).reshape(()), "high": np.float32(6).reshape(())}
    view = run(nodes, weights=bounds)
    assert [(n.op, n.attrs["activation"]) for n in view.nodes] == [
        ("Conv", "relu"), ("Mul", "tanh"), ("Affine", "clip")]  # fmt: skip
    assert view.nodes[2].attrs["act_max"] == 6.0


def test_second_activation_stays():
    view = run([conv("x w b", "c"), node("Tanh", "c", "t"), node("Relu", "t", "y")])
    assert ops(view) == ["Conv", "Activation"]


def test_activation_of_a_graph_output_stays():
    view = run([conv("x w b", "c"), node("Relu", "c", "y")], "c y")
    assert ops(view) == ["Conv", "Activation"] and view.outputs == ("c", "y")


def test_residual_is_fused_with_its_activation():
    nodes = [conv("x w b", "a"), node("Relu", "a", "r"), conv("r w2", "c"), node("Add", "c x", "s")]
    view = run([*nodes, node("Relu", "s", "y")])
    assert ops(view) == ["Conv", "Conv"]
    last = view.nodes[1]
    assert (last.residual, last.attrs["activation"], last.output) == ("x", "relu", "y")


@pytest.mark.parametrize("order", ("c r", "r c"))
def test_residual_computed_after_the_convolution_comes_before_it(order):
    nodes = [conv("x w b", "c"), node("Sigmoid", "x", "r"), node("Add", order, "y")]
    view = run(nodes)
    assert [n.op for n in view.nodes] == ["Activation", "Conv"] and view.nodes[1].residual == "r"


def test_of_two_convolutions_the_later_takes_the_other():
    other = node("Sigmoid", "x", "r", name="r")
    view = run([other, conv("x w b", "a"), conv("r w2", "c"), node("Add", "c a", "y")])
    assert [(n.name, n.residual) for n in view.nodes] == [("r", None), ("conv_a", None), ("conv_c", "a")]


def test_residual_is_not_fused_over_an_activation_or_twice():
    view = run([conv("x w b", "a"), node("Relu", "a", "r"), node("Add", "r x", "y")])
    assert ops(view) == ["Conv", "Add"]
    other = node("Sigmoid", "x", "o")
    view = run([other, conv("o w b", "a"), node("Add", "a x", "s"), node("Add", "s x", "y")])
    assert ops(view) == ["Activation", "Conv", "Add"]
    view = run([conv("x w b", "a"), node("Add", "a a", "y")])
    assert ops(view) == ["Conv", "Add"]


def test_residual_chain_of_blocks():
    nodes, last = [], "x"
    for i in range(4):
        nodes += [conv(f"{last} w b", f"a{i}"), node("Relu", f"a{i}", f"r{i}"), conv(f"r{i} w2", f"c{i}")]
        nodes += [node("Add", f"{last} c{i}", f"s{i}"), node("Relu", f"s{i}", f"o{i}")]
        last = f"o{i}"
    view = run(nodes, last)
    assert [n.residual is not None for n in view.nodes] == [False, True] * 4


def test_pool_fuses_after_the_activation():
    pool = node("MaxPool", "r", "y", kernel_shape=[2, 2], strides=[2, 2])
    view = run([conv("x w b", "c"), node("Relu", "c", "r"), pool])
    assert [(n.op, n.attrs["pool"], n.out_shape) for n in view.nodes] == [("Conv", "max2x2", (1, 4, 4, 4))]


@pytest.mark.parametrize(
    "attrs, conv_attrs",
    [
        ({"kernel_shape": [3, 3], "strides": [2, 2]}, {}),
        ({"kernel_shape": [2, 2], "strides": [1, 1]}, {}),
        ({"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]}, {}),
        ({"kernel_shape": [2, 2], "strides": [2, 2]}, {"pads": [0, 1, 0, 0]}),
    ],
)
def test_other_pools_stay(attrs, conv_attrs):
    view = run([conv("x w b", "c", **conv_attrs), node("MaxPool", "c", "y", **attrs)])
    assert ops(view) == ["Conv", "MaxPool"]


@pytest.mark.parametrize("alpha, fused", [(0.5, True), (0.0, True), (-0.5, False)])
def test_pool_fuses_with_elu_only_where_that_never_falls(alpha, fused):
    pool = node("MaxPool", "e", "y", kernel_shape=[2, 2], strides=[2, 2])
    view = run([conv("x w b", "c"), node("Elu", "c", "e", alpha=alpha), pool])
    assert ops(view) == (["Conv"] if fused else ["Conv", "MaxPool"])


def test_pool_stays_where_the_convolution_has_a_residual_or_two_readers():
    pool = node("MaxPool", "s", "y", kernel_shape=[2, 2], strides=[2, 2])
    other = node("Sigmoid", "x", "o")
    view = run([other, conv("o w b", "c"), node("Add", "c x", "s"), pool])
    assert ops(view) == ["Activation", "Conv", "MaxPool"] and view.nodes[1].residual == "x"
    assert ops(run([conv("x w b", "s"), pool, node("Relu", "s", "z")], "y z")) == [
        "Conv",
        "MaxPool",
        "Activation",
    ]


def test_pad_folds_into_convolutions_and_stays_for_others():
    pads = {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    view = run([node("Pad", "x p", "a"), conv("a w b", "c"), conv("a w2", "y", strides=[2, 1])], "c y", pads)
    assert [n.ints("pads") for n in view.nodes] == [(2, 3, 4, 1)] * 2
    pool = node("MaxPool", "a", "z", kernel_shape=[2, 2])
    view = run([node("Pad", "x p", "a"), conv("a w b", "y"), pool], "y z", pads)
    assert ops(view) == ["Pad", "Conv", "MaxPool"]


def test_dead_code_and_its_weights_go():
    view = run([conv("x w b", "y"), conv("x w2", "dead"), node("Relu", "dead", "deader")])
    assert ops(view) == ["Conv"]
    assert not any("dead" in name for name in view.shapes)


def test_dropout_and_flatten_chains_go():
    nodes = [node("GlobalAveragePool", "x", "p"), node("Dropout", "p", "d"), node("Flatten", "d", "f")]
    nodes += [node("Unsqueeze", "f two", "u"), node("Squeeze", "u two", "y")]
    view = run(nodes, weights={"two": np.array([2])})
    assert ops(view) == ["GlobalAveragePool", "Flatten"] and view.outputs == ("y",)


def test_outputs_keep_their_names_and_are_values_of_their_own():
    nodes = [
        node("Identity", "x", "a"),
        node("Relu", "x", "r"),
        node("Identity", "r", "k"),
        node("Identity", "r", "c"),
    ]
    view = run(nodes, "a k c")
    assert view.outputs == ("a", "k", "c")
    assert len({n.name for n in view.nodes}) == len(view.nodes) == 3


def test_layers_are_called_after_their_weights():
    nodes = [
        node("Conv", "x a.weight", "c", name="/a/Conv"),
        node("Conv", "c a.weight", "d", name="/a/Conv_1"),
        node("Conv", "d w", "e", name="node_conv2d_2"),
        node("MaxPool", "e", "f", name="node_max_pool", kernel_shape=[1, 1]),
        node("Conv", "f w", "y"),
    ]
    view = run(nodes, weights={"a.weight": rand(4, 4, 1, 1)})
    assert [n.name for n in view.nodes] == ["a", "/a/Conv_1", "node_conv2d_2", "max_pool", "Conv_4"]


def test_nodes_of_one_name_are_told_apart():
    nodes = [node("Relu", "x", "r", name="n"), node("Tanh", "r", "y", name="n")]
    assert [n.name for n in normalise(make(nodes, X, ["y"])).nodes] == ["n", "n_1"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("size", "pads"), [([3, 3], [1, 1, 1, 1]), ([2, 5], [1, 0, 0, 3])])
def test_padding_that_does_not_count_is_made_up_for_where_the_image_keeps_its_blocks(size, pads, stride):
    pool = node("AveragePool", "x", "y", kernel_shape=size, pads=pads, strides=[stride, stride])
    view = check(make([pool], {"x": (1, 3, 6, 7)}, ["y"]))
    assert ops(view) == ["AveragePool", "Constant", "Mul"][: 1 if stride > 1 else 3]


def test_the_table_of_operators_counts_inputs():
    model = graph.normalise(graph.load(make([node("Add", "x x", "y", name="n")], X, ["y"])))
    (add,) = model.graph
    add.resize_inputs(1)
    with pytest.raises(AssertionError, match="n: 1 inputs"):
        check_normalised(model.graph)
