"""What moves, cuts, pads or resizes, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import helper

from pconv.errors import UnsupportedError

from .models import IMAGE, INT, check, floats, make, node, normalise, ops, rand
from .reference import execute

PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


@pytest.mark.parametrize("opset", (11, 13, 18))
@pytest.mark.parametrize("axis, sizes", [(1, [1, 5]), (-2, [2, 2, 1]), (3, [3, 4]), (1, None)])
def test_split(axis, sizes, opset):
    outputs = [f"y{i}" for i in range(len(sizes or "xxx"))]
    attrs, names = {"axis": axis}, ["x"]
    weights = {}
    if sizes and opset >= 13:
        weights, names = {"s": np.array(sizes, INT)}, ["x", "s"]
    elif sizes:
        attrs["split"] = sizes
    elif opset >= 18:
        attrs["num_outputs"] = 3
    split = helper.make_node("Split", names, outputs, "n", **attrs)
    check(make([split], {"x": (1, 6, 5, 7)}, outputs, weights, opset))


@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (1, 6, 5), (1, 4, 6, 2, 3)])
def test_slices_of_anything(shape):
    weights = {"s": np.array([1, 0], INT), "e": np.array([6, 2], INT), "a": np.array([1, 2], INT)}
    weights["t"] = np.array([2, 1], INT)
    check(make([node("Slice", "x s e a t", "y")], {"x": shape}, ["y"], weights))


@pytest.mark.parametrize(
    "shape, perm",
    [
        (IMAGE, (0, 2, 3, 1)),
        (IMAGE, (0, 3, 2, 1)),
        ((1, 4, 6), (0, 2, 1)),
        ((1, 2, 3, 4, 5), (0, 4, 2, 1, 3)),
        ((1, 1, 4, 5), (1, 0, 3, 2)),
    ],
)
def test_transpose(shape, perm):
    check(make([node("Transpose", "x", "y", perm=list(perm))], {"x": shape}, ["y"]))


def test_channels_that_come_last_come_first_again():
    """A block of ConvNeXt, as torch exports it."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
        node("LayerNormalization", "t s b", "n"),
        node("MatMul", "n w", "m"),
        node("Add", "m c", "a"),
        node("Gelu", "a", "g"),
        node("MatMul", "g v", "z"),
        node("Transpose", "z", "back", perm=[0, 3, 1, 2]),
        node("Add", "back x", "y"),
    ]
    weights = {"s": rand(6), "b": rand(6, seed=1), "w": rand(6, 8), "c": rand(8), "v": rand(8, 6, seed=1)}
    view = check(make(nodes, {"x": (1, 6, 5, 7)}, ["y"], weights, opset=20))
    assert "Transpose" not in ops(view)


def test_channels_that_come_last_at_the_end():
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Relu", "t", "y")]
    check(make(nodes, {"x": IMAGE}, ["y"]))


def test_what_torch_writes_for_as_strided():
    nodes = [
        node("ReduceMean", "x", "m", axes=[2, 3]),
        node("Reshape", "m all", "flat"),
        node("Gather", "flat order", "back"),
        node("Relu", "back", "y"),
    ]
    weights = {"all": np.array([6], INT), "order": np.arange(6).reshape(1, 6, 1, 1).astype(INT)}
    assert "Gather" not in ops(check(make(nodes, {"x": (1, 6, 5, 7)}, ["y"], weights)))
    weights["order"] = weights["order"][:, ::-1].copy()
    check(make(nodes, {"x": (1, 6, 5, 7)}, ["y"], weights))


def test_an_activation_goes_before_what_only_moves():
    up = node("ConvTranspose", "x w", "u", strides=[2, 2], pads=[1, 1, 1, 1])
    view = check(make([up, node("Relu", "u", "y")], {"x": IMAGE}, ["y"], {"w": rand(3, 4, 4, 4)}))
    assert ops(view) == ["Conv", "DepthToSpace", "Subsample"]
    assert view.nodes[0].attrs["activation"] == "relu"


def test_transposes_that_undo_each_other():
    """As exports before opset 13 write a softmax over channels."""
    there, back = ({"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]})
    nodes = [
        node("Transpose", "x", "a", **there),
        node("Transpose", "a", "b", **back),
        node("Relu", "b", "y"),
    ]
    assert ops(check(make(nodes, {"x": IMAGE}, ["y"]))) == ["Activation"]
    nodes = [node("Transpose", "x", "a", **there), node("Transpose", "a", "y", **there)]
    assert ops(check(make(nodes, {"x": IMAGE}, ["y"]))) == ["Transpose"]


@pytest.mark.parametrize("mode", ("CRD", "DCR"))
def test_a_batch_norm_goes_before_an_interleaving(mode):
    weights = {"w": rand(12, 3, 3, 3), "s": rand(3, 1, 1), "t": rand(3, 1, 1)}
    nodes = [
        node("Conv", "x w", "a", name="conv"),
        node("DepthToSpace", "a", "b", blocksize=2, mode=mode),
        node("Mul", "b s", "c"),
        node("Add", "c t", "y"),
    ]
    assert ops(check(make(nodes, {"x": IMAGE}, ["y"], weights))) == ["Conv", "DepthToSpace"]


def test_channel_shuffle():
    weights = {"five": np.array([1, 3, 2, 5, 7], INT), "four": np.array([1, 6, 5, 7], INT)}
    nodes = [
        node("Reshape", "x five", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "b four", "y"),
    ]
    assert ops(check(make(nodes, {"x": (1, 6, 5, 7)}, ["y"], weights))) == ["ChannelShuffle"]


def test_space_to_depth():
    check(make([node("SpaceToDepth", "x", "y", blocksize=2)], {"x": (1, 3, 4, 6)}, ["y"]))


@pytest.mark.parametrize("shape, axis", [(IMAGE, 2), (IMAGE, -1), ((1, 3, 4), 2), ((1, 3, 4), 1)])
def test_concat_and_softmax_along_any_axis(shape, axis):
    nodes = [node("Concat", "a b a", "c", axis=axis), node("Softmax", "c", "y", axis=axis)]
    check(make(nodes, {"a": shape, "b": shape}, ["y"]))


@pytest.mark.parametrize("mode", ("reflect", "edge", "constant"))
def test_pads(mode):
    weights = {"p": np.array([0, 0, 2, 3, 0, 0, 1, 4], INT), "v": floats(1.5)[0]}
    check(make([node("Pad", "x p v", "y", mode=mode)], {"x": IMAGE}, ["y"], weights))


@pytest.mark.parametrize(
    "pads",
    [
        [0, 0, -1, -2, 0, 0, 1, 0],
        [0, 0, -1, -1, 0, 0, -1, 0],
        [0, -1, 2, 0, 0, 0, 0, -3],
        [0, 0, 0, 0, 0, -2, 0, 0],
    ],
)
def test_pads_that_take_away(pads):
    weights = {"p": np.array(pads, INT), "v": floats(0.5)[0]}
    check(make([node("Pad", "x p v", "y")], {"x": IMAGE}, ["y"], weights))


@pytest.mark.parametrize("channels", ((0, 0), (2, 1)))
@pytest.mark.parametrize("rows", ((0, 0), (2, 1)))
def test_a_large_value_of_a_pad_leaves_the_image_as_it_is(channels, rows):
    """What fills the rim before a maximum is often the lowest float."""
    pads = np.array([0, channels[0], rows[0], 0, 0, channels[1], rows[1], 0], INT)
    model = make([node("Pad", "x p v", "y")], {"x": IMAGE}, ["y"], {"p": pads, "v": floats(-3.4e38)[0]})
    view = normalise(model)
    x = rand(*IMAGE)
    got = execute(view, {"x": x}, np.float32)["y"]
    np.testing.assert_array_equal(got, np.pad(x, pads.reshape(2, 4).T, constant_values=np.float32(-3.4e38)))


def test_a_pad_of_minus_infinity_never_wins_a_maximum():
    """How timm pads before pooling where TensorFlow has SAME."""
    weights = {"p": np.array([0, 0, 0, 1, 0, 0, 1, 1], INT), "v": floats(-np.inf)[0]}
    pool = node("MaxPool", "a", "y", kernel_shape=[3, 3], strides=[2, 2])
    nodes = [node("Pad", "x p v", "a", name="n"), pool]
    check(make(nodes, {"x": IMAGE}, ["y"], weights))
    with pytest.raises(UnsupportedError, match=r"^n \(Pad\): its value is -inf; .* and no output is it\."):
        normalise(make(nodes, {"x": IMAGE}, ["a", "y"], weights))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", ("nearest", "linear", "cubic"))
@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.5, 3.0), (0.6, 0.5), (1.0, 1.7), (0.2, 0.15)])
def test_resize_by_scales(scales, mode, place):
    resize = helper.make_node(
        "Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode=place
    )
    check(make([resize], {"x": IMAGE}, ["y"], {"s": floats(1, 1, *scales)}))


@pytest.mark.parametrize("rounding", ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
@pytest.mark.parametrize("sizes", [(10, 14), (3, 4), (8, 7)])
def test_resize_to_sizes(sizes, rounding):
    resize = helper.make_node("Resize", ["x", "", "", "s"], ["y"], mode="nearest", nearest_mode=rounding)
    check(make([resize], {"x": IMAGE}, ["y"], {"s": np.array([1, 3, *sizes], INT)}))


def test_resize_of_some_axes():
    resize = helper.make_node("Resize", ["x", "", "s"], ["y"], axes=[3, 2], mode="linear")
    check(make([resize], {"x": IMAGE}, ["y"], {"s": floats(2, 3)}, opset=18))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", ("nearest", "linear"))
def test_sizes_and_places_are_rounded_as_floats(mode, place):
    """5 times 1.4 are 7, though the nearest float to 1.4 is below it; 3 / 0.6 are 5."""
    resize = helper.make_node(
        "Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode=place
    )
    check(make([resize], {"x": (1, 2, 5, 10)}, ["y"], {"s": floats(1, 1, 1.4, 0.6)}))


# Widths that fall between two positions in float32 alone, or nearly, and what they are multiplied by.
TIES = (
    *((12, 4 / 12), (30, 4 / 30), (7, 2 / 7), (7, 8 / 7), (7, 1 / 7), (10, 1.2), (10, 0.6), (3, 1 / 3)),
    *((3, 11 / 3), (6, 2.3), (12, 2.6), (11, 2.6), (7, 1.5), (29, 30 / 29), (20, 1.04)),
)


@pytest.mark.parametrize("rounding", ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
@pytest.mark.parametrize("place", (*PLACES, "tf_half_pixel_for_nn", "half_pixel_symmetric"))
def test_what_lies_between_two_positions_goes_to_the_same_one(place, rounding):
    attrs = {"mode": "nearest", "coordinate_transformation_mode": place, "nearest_mode": rounding}
    nodes, inputs, weights = [], {}, {}
    for i, (width, scale) in enumerate(TIES):
        inputs[f"x{i}"] = (1, 1, 1, width)
        weights[f"scales{i}"] = floats(1, 1, 1, scale)
        weights[f"sizes{i}"] = np.array([1, 1, 1, np.float32(width) * np.float32(scale)], INT)
        nodes.append(helper.make_node("Resize", [f"x{i}", "", f"scales{i}"], [f"y{2 * i}"], **attrs))
        nodes.append(helper.make_node("Resize", [f"x{i}", "", "", f"sizes{i}"], [f"y{2 * i + 1}"], **attrs))
    check(make(nodes, inputs, [f"y{i}" for i in range(len(nodes))], weights, opset=19))


@pytest.mark.parametrize(
    "op, opset, scales", [("Upsample", 9, (2, 3)), ("Resize", 10, (2, 3)), ("Resize", 10, (0.6, 0.3))]
)
@pytest.mark.parametrize("mode", ("nearest", "linear"))
def test_resize_of_old_opsets(op, opset, scales, mode):
    model = make(
        [node(op, "x s", "y", mode=mode)], {"x": IMAGE}, ["y"], {"s": floats(1, 1, *scales)}, opset=opset
    )
    check(model)


def test_channels_last_costs_nothing():
    """What tf2onnx writes: NHWC at the border and in the mean over the image."""
    nodes = [
        node("Transpose", "x", "xt", perm=[0, 3, 1, 2]),
        node("Conv", "xt w", "c", auto_pad="SAME_UPPER"),
        node("Transpose", "c", "ct", perm=[0, 2, 3, 1]),
        node("ReduceMean", "ct", "m", axes=[1, 2], keepdims=0),
        node("MatMul", "m f", "y"),
    ]
    weights = {"w": rand(6, 3, 3, 3), "f": rand(6, 4)}
    view = check(make(nodes, {"x": (1, 8, 8, 3)}, ["y"], weights))
    assert ops(view) == ["Transpose", "Conv", "GlobalAveragePool", "Flatten", "Gemm"]
