"""Every source operator, over the opsets in which it looks different, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import helper

from pconv.errors import UnsupportedError

from .models import check, make, node, normalise, ops, rand

OPSETS = (11, 13, 17, 18, 22)
every_opset = pytest.mark.parametrize("opset", OPSETS)
INT = np.int64


def ints_arg(op, inputs, opset, since, name, values, **attrs):
    """Make a node whose integers are an attribute before opset `since`, an input from it on."""
    if opset < since:
        return node(op, inputs, "y", name="n", **{name: values}, **attrs), {}
    return node(op, f"{inputs} {name}", "y", name="n", **attrs), {name: np.array(values, INT)}


@every_opset
@pytest.mark.parametrize(
    "op, attrs", [("Relu", {}), ("Tanh", {}), ("Sigmoid", {}), ("Identity", {}), ("Dropout", {})]
)
def test_element_wise(op, attrs, opset):
    check(make([node(op, "x", "y", **attrs)], {"x": (1, 3, 4, 5)}, ["y"], opset=opset))


@every_opset
@pytest.mark.parametrize(
    "low, high", [(0.0, 6.0), (-0.5, None), (None, 0.5), (None, None), (0.0, None), (0.5, -0.5)]
)
def test_clip_with_open_sides(low, high, opset):
    bounds = {n: np.array(v, np.float32) for n, v in (("low", low), ("high", high)) if v is not None}
    names = ["x", "low" if low is not None else "", "high" if high is not None else ""]
    clip = helper.make_node("Clip", names, ["y"], name="n")
    view = check(make([clip], {"x": (1, 2, 3, 3)}, ["y"], bounds, opset))
    attrs = view.nodes[0].attrs
    assert attrs["act_min"] <= attrs["act_max"] or attrs["activation"] != "clip"
    assert attrs["activation"] == {
        (0.0, None): "relu",
        (None, None): "none",
    }.get((low, high), "clip")


def test_clip_with_attributes_of_opset_10():
    view = check(make([node("Clip", "x", "y", min=0.0, max=6.0)], {"x": (1, 2, 3, 3)}, ["y"], opset=10))
    assert view.nodes[0].attrs["act_max"] == 6.0


@every_opset
def test_batch_normalization_alone_is_an_affine(opset):
    weights = {"g": rand(3), "b": rand(3, seed=1), "m": rand(3, seed=2), "v": np.abs(rand(3, seed=3)) + 0.1}
    view = check(
        make(
            [node("BatchNormalization", "x g b m v", "y", epsilon=1e-3)],
            {"x": (1, 3, 4, 4)},
            ["y"],
            weights,
            opset,
        )
    )
    assert ops(view) == ["Affine"]


CONVS = [
    {},
    {"pads": [1, 1, 1, 1]},
    {"pads": [2, 0, 1, 3], "strides": [2, 1]},
    {"dilations": [2, 3], "pads": [2, 3, 2, 3]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
    {"auto_pad": "VALID", "strides": [3, 2]},
]


@pytest.mark.parametrize("opset", (11, 22))
@pytest.mark.parametrize("group, bias", [(1, True), (2, False), (4, True)])
@pytest.mark.parametrize("attrs", CONVS)
def test_conv(attrs, group, bias, opset):
    weights = {"w": rand(8, 4 // group, 3, 2)} | ({"b": rand(8)} if bias else {})
    conv = node("Conv", " ".join(["x", *weights]), "y", group=group, **attrs)
    view = check(make([conv], {"x": (1, 4, 9, 11)}, ["y"], weights, opset))
    assert set(view.nodes[0].weights) == {1, 2}


POOLS = [
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [3, 2], "pads": [1, 1, 0, 1], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("opset", (11, 17, 19, 22))
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
@pytest.mark.parametrize("attrs", POOLS)
def test_max_pool(attrs, size, opset):
    check(make([node("MaxPool", "x", "y", **attrs)], {"x": (1, 2, *size)}, ["y"], opset=opset))


@pytest.mark.parametrize("opset", (11, 17, 19, 22))
@pytest.mark.parametrize("count", (0, 1))
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
@pytest.mark.parametrize("attrs", POOLS)
def test_average_pool(attrs, size, count, opset):
    pool = node("AveragePool", "x", "y", count_include_pad=count, **attrs)
    check(make([pool], {"x": (1, 2, *size)}, ["y"], opset=opset))


@every_opset
def test_average_pool_over_everything_is_global(opset):
    pool = node("AveragePool", "x", "y", kernel_shape=[7, 5], strides=[7, 5])
    assert ops(check(make([pool], {"x": (1, 4, 7, 5)}, ["y"], opset=opset))) == ["GlobalAveragePool"]


@every_opset
@pytest.mark.parametrize("keepdims", (0, 1))
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_reduce_mean_over_the_image(axes, keepdims, opset):
    mean, weights = ints_arg("ReduceMean", "x", opset, 18, "axes", axes, keepdims=keepdims)
    view = check(make([mean], {"x": (1, 4, 3, 5)}, ["y"], weights, opset))
    assert ops(view) == ["GlobalAveragePool"] + ["Flatten"] * (1 - keepdims)


@every_opset
@pytest.mark.parametrize("transposed", (0, 1))
@pytest.mark.parametrize("bias", [None, (), (1,), (5,), (1, 5)])
def test_gemm(transposed, bias, opset):
    weights = {"w": rand(5, 7) if transposed else rand(7, 5)} | ({} if bias is None else {"b": rand(*bias)})
    gemm = node("Gemm", " ".join(["x", *weights]), "y", transB=transposed, alpha=0.5, beta=2.0)
    check(make([gemm], {"x": (1, 7)}, ["y"], weights, opset))


@every_opset
def test_matmul_and_bias_are_one_gemm(opset):
    nodes = [node("MatMul", "x w", "m", name="fc"), node("Add", "b m", "y")]
    view = check(make(nodes, {"x": (1, 7)}, ["y"], {"w": rand(7, 5), "b": rand(5)}, opset))
    assert [(n.name, n.op) for n in view.nodes] == [("fc", "Gemm")]


@every_opset
@pytest.mark.parametrize(
    "op, since, name, values, shape",
    [
        ("Reshape", 1, "shape", [0, -1], (1, 4, 3, 5)),
        ("Reshape", 1, "shape", [1, 2, 2, 15], (1, 4, 3, 5)),
        ("Squeeze", 13, "axes", [-1, 2], (1, 4, 1, 1)),
        ("Unsqueeze", 13, "axes", [2, -1], (1, 6)),
    ],
)
def test_reshapes(op, since, name, values, shape, opset):
    reshape, weights = ints_arg(op, "x", opset, since, name, values)
    view = check(make([reshape], {"x": shape}, ["y"], weights, opset))
    assert ops(view) == ["Flatten"]


@every_opset
@pytest.mark.parametrize("axis", (1, 0, -3))
def test_flatten(axis, opset):
    check(make([node("Flatten", "x", "y", axis=axis)], {"x": (1, 4, 3, 5)}, ["y"], opset=opset))


def test_squeeze_without_axes_keeps_the_batch():
    model = make([node("Squeeze", "x", "s"), node("Unsqueeze", "s a", "y")], {"x": (2, 4, 1, 1)}, ["y"],
                 {"a": np.array([2], INT)}, 17)  # fmt: skip
    assert check(make([node("Flatten", "x", "y")], {"x": (1, 4, 1, 1)}, ["y"])).nodes[0].out_shape == (1, 4)
    assert normalise(model).nodes[-1].out_shape == (1, 4, 1)


@every_opset
@pytest.mark.parametrize("axis", (1, -1))
def test_softmax_over_features(axis, opset):
    check(make([node("Softmax", "x", "y", axis=axis)], {"x": (1, 6)}, ["y"], opset=opset))


@every_opset
@pytest.mark.parametrize("shape", [(1, 6), (1, 4, 1, 1)])
def test_softmax_with_the_default_axis(shape, opset):
    if opset >= 13 and len(shape) == 4:
        shape = (1, 4)
    check(make([node("Softmax", "x", "y")], {"x": shape}, ["y"], opset=opset))


@every_opset
def test_softmax_over_channels_was_over_all_before_opset_13(opset):
    view = check(make([node("Softmax", "x", "y", axis=1)], {"x": (1, 4, 3, 2)}, ["y"], opset=opset))
    assert ops(view) == (["Flatten", "Softmax", "Flatten"] if opset < 13 else ["Softmax"])


@every_opset
@pytest.mark.parametrize("op", ("Add", "Sub", "Mul"))
@pytest.mark.parametrize("order", ("x y", "y x"))
def test_two_activations(op, order, opset):
    view = check(make([node(op, order, "z")], {"x": (1, 3, 4, 4), "y": (1, 3, 4, 4)}, ["z"], opset=opset))
    assert ops(view) == [op]


@every_opset
@pytest.mark.parametrize("op, order", [(o, "x c") for o in ("Add", "Sub", "Mul", "Div")]
                         + [(o, "c x") for o in ("Add", "Sub", "Mul")])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
def test_an_activation_and_a_constant_are_an_affine(op, order, shape, opset):
    view = check(make([node(op, order, "y")], {"x": (1, 3, 4, 5)}, ["y"], {"c": rand(*shape) + 3}, opset))
    assert ops(view) == ["Affine"]


def test_sum_is_a_chain_of_adds():
    model = make([node("Sum", "a b c", "y")], dict.fromkeys("abc", (1, 2, 3, 3)), ["y"])
    assert ops(check(model)) == ["Add", "Add"]


def test_sum_of_constants_and_of_a_gate():
    inputs = {"a": (1, 3, 1, 1), "b": (1, 3, 4, 5)}
    model = make([node("Sum", "c a b d", "y")], inputs, ["y"], {"c": rand(3, 1, 1), "d": rand(4, 5)})
    assert ops(check(model)) == ["Constant", "Constant", "Add", "Add", "Add"]


@every_opset
@pytest.mark.parametrize("axis", (1, -3))
def test_concat(axis, opset):
    inputs = {"a": (1, 2, 3, 3), "b": (1, 5, 3, 3)}
    check(make([node("Concat", "a b a", "y", axis=axis)], inputs, ["y"], opset=opset))


@every_opset
@pytest.mark.parametrize("mode", ("DCR", "CRD"))
def test_depth_to_space(mode, opset):
    shuffle = node("DepthToSpace", "x", "y", blocksize=3, mode=mode)
    check(make([shuffle], {"x": (1, 18, 4, 2)}, ["y"], opset=opset))


@every_opset
@pytest.mark.parametrize("mode", ("DCR", "CRD"))
def test_pixel_shuffle_written_as_transpose(mode, opset):
    six, perm = (
        ([1, 2, 3, 3, 4, 5], (0, 1, 4, 2, 5, 3))
        if mode == "CRD"
        else ([1, 3, 3, 2, 4, 5], (0, 3, 4, 1, 5, 2))
    )
    nodes = [node("Reshape", "x s", "a"), node("Transpose", "a", "b", perm=perm), node("Reshape", "b t", "y")]
    weights = {"s": np.array(six, INT), "t": np.array([1, 2, 12, 15], INT)}
    view = check(make(nodes, {"x": (1, 18, 4, 5)}, ["y"], weights, opset))
    assert [(n.op, n.attrs["mode"]) for n in view.nodes] == [("DepthToSpace", mode)]


def test_transpose_of_single_pixels_is_a_reshape():
    view = check(make([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {"x": (1, 6, 1, 1)}, ["y"]))
    assert ops(view) == ["Flatten"]


@every_opset
def test_slices_and_channel_pad_are_one_subsample(opset):
    weights = {"s": [1], "e": [2**63 - 1], "h": [2], "w": [3], "two": [2], "three": [3]}
    weights = {k: np.array(v, INT) for k, v in weights.items()}
    nodes = [node("Slice", "x s e h two", "a"), node("Slice", "a s e w three", "b")]
    pads = np.array([0, 2, 0, 0, 0, 3, 0, 0], INT)
    view = check(
        make([*nodes, node("Pad", "b p", "y")], {"x": (1, 4, 9, 10)}, ["y"], weights | {"p": pads}, opset)
    )
    assert ops(view) == ["Subsample"]
    assert dict(view.nodes[0].attrs) == {
        "starts": (0, 1, 1), "steps": (2, 3), "sizes": (4, 4, 3), "channel_pad": (2, 3)}  # fmt: skip


def test_slice_takes_negative_bounds_and_channels():
    weights = {"s": np.array([-3, 1], INT), "e": np.array([-1, 100], INT), "a": np.array([1, -1], INT)}
    check(make([node("Slice", "x s e a", "y")], {"x": (1, 6, 4, 5)}, ["y"], weights))


def test_slice_with_attributes_of_opset_9():
    check(
        make([node("Slice", "x", "y", starts=[1], ends=[3], axes=[2])], {"x": (1, 2, 4, 4)}, ["y"], opset=9)
    )


def test_pad_of_channels_and_image():
    weights = {"p": np.array([0, 1, 2, 3, 0, 4, 5, 6], INT)}
    assert ops(check(make([node("Pad", "x p", "y")], {"x": (1, 2, 3, 3)}, ["y"], weights))) == [
        "Subsample",
        "Pad",
    ]


def test_pad_with_axes_of_opset_18():
    weights = {"p": np.array([1, 2, 3, 4], INT), "v": np.array(0, np.float32), "a": np.array([-2, 3], INT)}
    check(make([node("Pad", "x p v a", "y")], {"x": (1, 2, 3, 3)}, ["y"], weights, opset=18))


@every_opset
def test_shape_arithmetic_is_folded(opset):
    """The way older exports flatten: Shape, Gather, Unsqueeze, Concat, Reshape."""
    unsqueeze, weights = ints_arg("Unsqueeze", "d", opset, 13, "axes", [0])
    unsqueeze.output[0] = "u"
    weights |= {"zero": np.array(0, INT), "rest": np.array([-1], INT)}
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "d"),
        unsqueeze,
        node("Concat", "u rest", "t", axis=0),
        node("Reshape", "x t", "y"),
    ]
    assert ops(check(make(nodes, {"x": (1, 3, 4, 5)}, ["y"], weights, opset))) == ["Flatten"]


def test_computed_weights_are_folded():
    nodes = [
        node("Constant", "", "k", value=helper.make_tensor("k", 1, [4], [1.0, 0.0, 2.0, 3.0])),
        node("Reshape", "k ks", "kr"),
        node("Mul", "w kr", "wm"),
        node("Conv", "x wm", "y", name="conv"),
    ]
    weights = {"w": rand(4, 3, 3, 3), "ks": np.array([4, 1, 1, 1], INT)}
    view = check(make(nodes, {"x": (1, 3, 6, 6)}, ["y"], weights))
    assert ops(view) == ["Conv"] and not view.nodes[0].weights[1][1].any()


@pytest.mark.parametrize("opset", (11, 13))
@pytest.mark.parametrize("axis", (None, 0, 1, 2, -1))
@pytest.mark.parametrize("op", ("Softmax", "LogSoftmax", "Hardmax"))
def test_softmaxes_of_constants_are_folded(op, axis, opset):
    """Before opset 13 all from the axis on was one row."""
    nodes = [
        node(op, "c", "s", **({} if axis is None else {"axis": axis})),
        node("Reshape", "s image", "r"),
        node("Add", "x r", "y"),
    ]
    weights = {"c": rand(3, 5, 7), "image": np.array([1, 3, 5, 7], INT)}
    check(make(nodes, {"x": (1, 3, 5, 7)}, ["y"], weights, opset))


@pytest.mark.parametrize("opset", (11, 13, 18))
def test_the_first_part_of_a_split_constant_is_folded(opset):
    """Where the others are not read, it still is a part."""
    split = node("Split", "c", "a b", axis=1, **({"num_outputs": 2} if opset == 18 else {}))
    nodes = [split, node("Mul", "x a", "y")]
    check(make(nodes, {"x": (1, 2, 5, 7)}, ["y"], {"c": rand(1, 4, 1, 1)}, opset))


@pytest.mark.parametrize(
    "it, problem",
    [
        (
            node("MaxPool", "c", "v", name="n", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
            "auto_pad is SAME_LOWER",
        ),
        (
            node("ConvTranspose", "c w", "v", name="n", strides=[3, 3], auto_pad="SAME_UPPER"),
            "auto_pad is SAME_UPPER",
        ),
        (node("MaxPool", "c", "v i", name="n", kernel_shape=[1, 1]), "its second output is read"),
        (node("LRN", "c", "v", name="n", size=3), "a local response norm"),
    ],
)
def test_what_the_reference_computes_otherwise_is_not_folded(it, problem):
    nodes = [it, node("Cast", it.output[-1], "m", to=1), node("Mul", "x m", "y")]
    with pytest.raises(UnsupportedError, match=rf"n \({it.op_type}\): its constant inputs .* \({problem}\)"):
        weights = {"c": rand(1, 3, 5, 7), "w": rand(3, 3, 2, 2)}
        normalise(make(nodes, {"x": (1, 3, 5, 7)}, ["y"], weights))
