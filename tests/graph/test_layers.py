"""Layers beyond the 2-D convolution: transposed, of rows, of tokens, products with vectors; against ONNX Runtime."""

import numpy as np
import pytest

from pconv.errors import PconvError, UnsupportedError

from .models import INT, check, floats, make, node, normalise, ops, rand

TRANSPOSED = [
    {},
    {"strides": [2, 2]},
    {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    {"strides": [3, 2], "pads": [0, 1, 2, 1]},
    {"strides": [2, 2], "dilations": [2, 3]},
    {"strides": [4, 4], "pads": [2, 0, 1, 1]},
    {"strides": [2, 2], "pads": [3, 2, 3, 2]},
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"strides": [2, 2], "output_shape": [8, 13]},
    {"strides": [2, 2], "output_shape": [7, 12], "auto_pad": "SAME_LOWER"},
    {"pads": [1, 0, 1, 2]},
]
ROWS = (1, 6, 11)
ONE_D = {
    "conv": ("Conv", {"strides": [2], "pads": [1, 3], "dilations": [2]}, (4, 6, 3)),
    "depthwise": ("Conv", {"group": 6, "auto_pad": "SAME_UPPER", "strides": [3]}, (6, 1, 4)),
    "up": ("ConvTranspose", {"strides": [3], "pads": [1, 0], "output_padding": [1]}, (6, 4, 4)),
    "up to": ("ConvTranspose", {"strides": [2], "output_shape": [22]}, (6, 4, 3)),
    "max": ("MaxPool", {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "ceil_mode": 1}, None),
    "mean": (
        "AveragePool",
        {"kernel_shape": [4], "strides": [3], "pads": [1, 2], "count_include_pad": 1},
        None,
    ),
    "all": ("AveragePool", {"kernel_shape": [11]}, None),
    "global mean": ("GlobalAveragePool", {}, None),
    "global max": ("GlobalMaxPool", {}, None),
}


@pytest.mark.parametrize("shape", [(1, 5, 6), (1, 2, 3, 5, 6), (1, 5, 7, 6)])
def test_linear_layers_and_norms_of_tokens(shape):
    nodes = [node("LayerNormalization", "x s b", "n"), node("MatMul", "n w", "m"), node("Gelu", "m", "y")]
    weights = {"s": rand(6), "b": rand(6, seed=1), "w": rand(6, 9)}
    check(make(nodes, {"x": shape}, ["y"], weights, opset=20))


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 3)])
@pytest.mark.parametrize("attrs", TRANSPOSED)
@pytest.mark.parametrize("group", (1, 2))
def test_conv_transpose(attrs, kernel, group):
    weights = {"w": rand(4, 3, *kernel), "b": rand(3 * group)}
    node_ = node("ConvTranspose", "x w b", "y", name="up", group=group, **attrs)
    check(make([node_], {"x": (1, 4, 5, 7)}, ["y"], weights))


@pytest.mark.parametrize("mode", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
def test_an_output_beyond_the_windows_is_refused(mode):
    up = node("ConvTranspose", "x w", "y", name="up", strides=[2, 2], output_shape=[12, 12], auto_pad=mode)
    with pytest.raises(
        UnsupportedError,
        match=r"up \(ConvTranspose\): output_shape \[12, 12\] is more than .*; allowed: up to \[11, 13\]\.",
    ):
        normalise(make([up], {"x": (1, 3, 5, 6)}, ["y"], {"w": rand(3, 2, 3, 3)}))


def test_conv_transpose_multiplies_no_zeros():
    """A kernel as large as its stride is a 1x1 convolution and an interleaving."""
    up = node("ConvTranspose", "x w", "y", strides=[2, 2])
    view = check(make([up], {"x": (1, 4, 5, 7)}, ["y"], {"w": rand(4, 3, 2, 2)}))
    assert ops(view) == ["Conv", "DepthToSpace"]
    assert view.nodes[0].weights[1].shape == (12, 4, 1, 1)


@pytest.mark.parametrize(
    "block, strides, dilations, pads, image, patches",
    [
        ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (8, 8), 16),
        ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (7, 10), 20),
        ((3, 2), (1, 1), (1, 1), (0, 0, 0, 0), (5, 6), 15),
        ((2, 2), (1, 2), (2, 1), (1, 0, 0, 1), (6, 5), 15),
        ((1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (3, 4), 12),
        ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (4, 6), 6),
        ((2, 2), (3, 3), (1, 1), (0, 0, 0, 0), (9, 7), 6),
    ],
)
def test_fold(block, strides, dilations, pads, image, patches):
    """As VOLO adds up what each window gives its pixels."""
    fold = node("Col2Im", "x i b", "y", strides=strides, dilations=dilations, pads=pads)
    sizes = {"i": np.array(image, INT), "b": np.array(block, INT)}
    check(make([fold], {"x": (1, 4 * block[0] * block[1], patches)}, ["y"], sizes, opset=18))


def test_folds_that_do_not_fit():
    for image, problem in (([8, 8, 8], "rows and columns"), ([9, 9], "do not fit an input")):
        sizes = {"i": np.array(image, INT), "b": np.array([2] * len(image), INT)}
        with pytest.raises(PconvError, match=rf"n \(Col2Im\): .*{problem}"):
            normalise(
                make([node("Col2Im", "x i b", "y", name="n")], {"x": (1, 8, 49)}, ["y"], sizes, opset=18)
            )


@pytest.mark.parametrize("opset", (13, 19))
def test_weights_that_are_stored_in_8_bits(opset):
    weights = {
        "q": np.arange(-54, 54).astype(np.int8).reshape(4, 3, 3, 3),
        "s": np.array(0.02, np.float32),
        "z": np.array(3, np.int8),
    }
    nodes = [node("DequantizeLinear", "q s z", "w"), node("Conv", "x w", "y")]
    assert ops(check(make(nodes, {"x": (1, 3, 6, 6)}, ["y"], weights, opset))) == ["Conv"]


@pytest.mark.parametrize("what", ONE_D)
def test_layers_of_rows(what):
    op, attrs, weight = ONE_D[what]
    weights = {} if weight is None else {"w": rand(*weight), "b": rand(4 if weight[1] != 1 else 6)}
    check(make([node(op, " ".join(["x", *weights]), "y", **attrs)], {"x": ROWS}, ["y"], weights))


def test_rows_are_padded_and_resized():
    weights = {"p": np.array([0, 1, 2, 0, 0, 3], INT), "s": floats(1, 1, 2.5)}
    nodes = [node("Pad", "x p", "a"), node("Resize", "a n s", "y", mode="linear")]
    check(make(nodes, {"x": ROWS}, ["y"], weights | {"n": floats()}))


def test_what_follows_a_layer_of_rows_runs_in_it():
    nodes = [
        *(node("Conv", "x w", "c", name="conv", pads=[1, 1]), node("BatchNormalization", "c s b m v", "n")),
        *(node("Relu", "n", "r"), node("Conv", "r u", "d", name="next"), node("Mul", "d k", "e")),
        *(node("Sigmoid", "e", "g"), node("Mul", "e g", "y")),
    ]
    weights = {"w": rand(4, 6, 3), "u": rand(5, 4, 3), "k": rand(5, 1), "v": np.abs(rand(4))}
    weights |= {name: rand(4, seed=i) for i, name in enumerate("sbm")}
    view = check(make(nodes, {"x": ROWS}, ["y"], weights))
    kinds = [(n.name, n.attrs["activation"]) for n in view.nodes if n.op == "Conv"]
    assert kinds == [("conv", "relu"), ("next", "silu")]
    assert ops(view) == ["Flatten", "Conv", "Conv", "Flatten"]


@pytest.mark.parametrize(
    "a, b",
    [
        ((1, 5, 6), (1, 6, 1)),
        ((1, 1, 6), (1, 6, 5)),
        ((1, 2, 5, 6), (1, 2, 6, 1)),
        ((1, 1, 4, 6), (1, 1, 6, 1)),
    ],
)
def test_a_matrix_times_a_vector(a, b):
    """As global context weighs its pixels."""
    check(make([node("MatMul", "a b", "y")], {"a": a, "b": b}, ["y"]))


@pytest.mark.parametrize("shape", [(1, 6, 9), (1, 3, 6, 7), (1, 2, 3, 6, 4)])
def test_a_constant_matrix_from_the_left(shape):
    check(make([node("MatMul", "w x", "y")], {"x": shape}, ["y"], {"w": rand(4, 6)}))


def test_a_constant_matrix_in_more_dimensions():
    check(make([node("MatMul", "x w", "y")], {"x": (1, 4, 6)}, ["y"], {"w": rand(1, 6, 5)}))


@pytest.mark.parametrize("outputs", ["n", "n m v sm sv"])
def test_weights_that_a_batch_norm_standardises(outputs):
    """As the exporter before torch.export writes them."""
    norm = node("BatchNormalization", "k s b m0 v0", outputs)
    nodes = [norm, node("Reshape", "n r", "w", name="r"), node("Conv", "x w", "y")]
    weights = {
        "k": rand(1, 4, 27),
        "s": rand(4),
        "b": rand(4, seed=1),
        "m0": rand(4, seed=2),
        "v0": np.abs(rand(4)),
    }
    weights["r"] = np.array([4, 3, 3, 3], INT)
    view = normalise(make(nodes, {"x": (1, 3, 6, 6)}, ["y"], weights, opset=13))
    wanted = (weights["k"][0] - weights["m0"][:, None]) / np.sqrt(weights["v0"] + 1e-5)[:, None]
    wanted = wanted * weights["s"][:, None] + weights["b"][:, None]
    np.testing.assert_allclose(view.nodes[0].weights[1].reshape(4, 27), wanted, rtol=1e-5, atol=1e-5)
