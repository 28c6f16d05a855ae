"""Outputs of a model for one sample that have no batch in front, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pconv.errors import UnsupportedError

from .models import FLOAT, IMAGE, INT, check, floats, make, node, normalise, ops, rand

LAST = node("Transpose", "x", "l", perm=[0, 2, 3, 1])
DROPS = {
    "reshape": ([LAST, node("Reshape", "l s", "d")], (35, 3)),
    "squeeze": ([node("Squeeze", "x zero", "d")], (3, 5, 7)),
    "first": ([node("Gather", "x first", "d", axis=0)], (3, 5, 7)),
    "turned": ([node("Transpose", "x", "d", perm=[2, 0, 3, 1])], (5, 1, 7, 3)),
    "all": ([node("Reshape", "x a", "d")], (105,)),
}
WEIGHTS = {
    "s": np.array([-1, 3], INT),
    "a": np.array([-1], INT),
    "zero": np.array([0], INT),
    "first": np.array(0, INT),
    "two": np.array([2], INT),
    "half": floats(0.5),
    "one": np.array([1], INT),
}


def weights(nodes) -> dict[str, np.ndarray]:
    return {name: WEIGHTS[name] for it in nodes for name in it.input if name in WEIGHTS}


def model(nodes, outputs, shape=IMAGE):
    return make(nodes, {"x": shape}, outputs, weights(nodes), opset=13)


@pytest.mark.parametrize("drop", DROPS)
def test_outputs_without_a_batch(drop):
    nodes, shape = DROPS[drop]
    view = check(model(nodes, ["d"]))
    assert view.nodes[-1].out_shape == shape


@pytest.mark.parametrize("drop", DROPS)
def test_what_works_element_by_element_stays_without_one(drop):
    nodes, shape = DROPS[drop]
    more = [node("Sigmoid", "d", "e"), node("Mul", "e d", "f"), node("Greater", "f half", "y")]
    view = check(model([*nodes, *more], {"y": TensorProto.BOOL, "e": FLOAT}))
    assert view.nodes[-1].out_shape == shape


@pytest.mark.parametrize("drop", ["reshape", "first", "turned"])
@pytest.mark.parametrize("axis", (0, 1, -1))
def test_axes_count_from_what_was_the_second(axis, drop):
    nodes = [
        *(*DROPS[drop][0], node("Softmax", "d", "p", axis=axis), node("ArgMax", "d", "i", axis=axis)),
        *(node("ReduceMax", "d", "m", axes=[axis]), node("Concat", "d p", "c", axis=axis)),
        *(node("Slice", "d zero two ax", "s1"), node("Gather", "d zero", "g", axis=axis)),
    ]
    WEIGHTS["ax"] = np.array([axis], INT)
    outputs = dict.fromkeys(("p", "m", "c", "s1", "g"), FLOAT) | {"i": TensorProto.INT64}
    check(model(nodes, outputs))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceSum"])
@pytest.mark.parametrize("keepdims", (0, 1))
def test_a_reduction_without_axes_is_over_all(op, keepdims):
    nodes = [*DROPS["reshape"][0], node(op, "d", "m", keepdims=keepdims), node("Reshape", "m one", "y")]
    check(model(nodes, ["y"]))


@pytest.mark.parametrize("order", ["d half", "half d"])
def test_a_constant_beside_what_has_none(order):
    check(model([*DROPS["all"][0], node("Concat", order, "y", axis=0)], ["y"]))


def test_a_convolution_of_volumes_is_refused():
    nodes = [node("Reshape", "x v", "d"), node("Conv", "d w", "y", name="n")]
    weights = {"v": np.array([3, 1, 5, 7, 1], INT), "w": rand(2, 1, 1, 1, 1)}
    with pytest.raises(
        UnsupportedError, match=r"^n \(Conv\): its input has shape \[3, 1, 5, 7, 1\]; allowed: 4 dim"
    ):
        normalise(make(nodes, {"x": IMAGE}, ["y"], weights))


def test_parts_of_several_images_are_put_together():
    """As detectors do that flatten each level of a pyramid."""
    nodes = [
        *(*DROPS["reshape"][0], node("Sigmoid", "d", "e"), node("MaxPool", "x", "m", kernel_shape=[3, 3])),
        *(node("Transpose", "m", "ml", perm=[0, 2, 3, 1]), node("Reshape", "ml s", "md")),
        node("Concat", "e md", "y", axis=0),
    ]
    assert check(model(nodes, ["y"])).nodes[-1].out_shape == (50, 3)


@pytest.mark.parametrize(
    ("shape", "wanted"), [((1, 6, 1, 1), (6,)), ((1, 1, 1, 1), ()), ((1, 4, 1, 3), (4, 3))]
)
def test_squeeze_of_all_that_is_one(shape, wanted):
    nodes = [node("Softmax", "x", "p", axis=1), node("Squeeze", "p", "q"), node("Abs", "q", "y")]
    assert check(model(nodes, ["y", "p"], shape)).nodes[-1].out_shape == wanted


def test_an_open_batch_stays_where_all_that_is_one_goes():
    nodes = [node("Squeeze", "x", "y")]
    assert normalise(model(nodes, ["y"], ("n", 6, 1, 1))).nodes[-1].out_shape == (1, 6)


WINDOWS = [
    node("Reshape", "x parts", "p"),
    node("Transpose", "p", "q", perm=[0, 2, 4, 1, 3, 5]),
    node("Reshape", "q windows", "w"),
]
BACK = [
    node("Reshape", "v apart", "r"),
    node("Transpose", "r", "t", perm=[0, 3, 1, 4, 2, 5]),
    node("Reshape", "t whole", "y"),
]


def windows(nodes, channels, size, before=WINDOWS, back=BACK):
    """Make a model of an image [1, 4, 6, 8] in four windows [4, 4, 3, 4], and of what comes of them."""
    h, w = size
    shapes = {"parts": (1, 4, 2, 3, 2, 4), "windows": (-1, 4, 3, 4), "rows": (-1, 4, 12)}
    shapes |= {"apart": (1, 2, 2, channels, h, w), "whole": (1, channels, 2 * h, 2 * w)}
    arrays = {name: np.array(shape, INT) for name, shape in shapes.items()}
    arrays |= {"k1": rand(6, 4, 1, 1), "k3": rand(6, 4, 3, 3), "deep": rand(4, 1, 5, 5), "bias": rand(6)}
    arrays |= {"pair": rand(6, 2, 3, 2), "row": rand(6, 4, 3)}
    used = {name for it in (*before, *nodes, *back) for name in it.input}
    weights = {name: array for name, array in arrays.items() if name in used}
    return make([*before, *nodes, *back], {"x": (1, 4, 6, 8)}, ["y"], weights, opset=17)


@pytest.mark.parametrize(
    "layer, channels, size",
    [
        (node("Conv", "w k1 bias", "v"), 6, (3, 4)),
        (node("Conv", "w k1", "v", strides=[2, 2]), 6, (2, 2)),
        (node("Conv", "w k3 bias", "v", pads=[1, 1, 1, 1]), 6, (3, 4)),
        (node("Conv", "w k3", "v", pads=[2, 0, 1, 2]), 6, (4, 4)),
        (node("Conv", "w k3", "v", pads=[1, 1, 1, 1], strides=[2, 3]), 6, (2, 2)),
        (node("Conv", "w k3", "v"), 6, (1, 2)),
        (node("Conv", "w k3", "v", pads=[2, 2, 2, 2], dilations=[2, 2]), 6, (3, 4)),
        (node("Conv", "w deep", "v", pads=[2, 2, 2, 2], group=4), 4, (3, 4)),
        (node("Conv", "w deep", "v", pads=[2, 2, 2, 2], group=4, strides=[2, 2]), 4, (2, 2)),
        (node("Conv", "w pair", "v", auto_pad="SAME_UPPER", group=2), 6, (3, 4)),
        (node("MaxPool", "w", "v", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), 4, (2, 2)),
        (node("AveragePool", "w", "v", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 4, (3, 4)),
        (node("GlobalAveragePool", "w", "v"), 4, (1, 1)),
        (node("GlobalMaxPool", "w", "v"), 4, (1, 1)),
        (node("ReduceMean", "w", "v", axes=[2, 3]), 4, (1, 1)),
        (node("Pad", "w", "v", mode="reflect"), 4, (5, 6)),
    ],
)
def test_windows_of_an_image(layer, channels, size):
    """As in EfficientViT."""
    if layer.op_type == "Pad":
        layer.input.append("pads")
        nodes = [helper.make_node("Constant", [], ["pads"], value_ints=[0, 0, 1, 1, 0, 0, 1, 1]), layer]
    else:
        nodes = [layer]
    check(windows(nodes, channels, size))


@pytest.mark.parametrize(
    "layer, channels",
    [
        (node("Conv", "w row bias", "u", pads=[1, 1]), 6),
        (node("GlobalAveragePool", "w", "u"), 4),
        (node("MaxPool", "w", "u", kernel_shape=[3], pads=[1, 1], strides=[1]), 4),
    ],
)
def test_rows_of_several_windows(layer, channels):
    before = [*WINDOWS[:2], node("Reshape", "q rows", "w")]
    size = (1, 1) if layer.op_type == "GlobalAveragePool" else (3, 4)
    reshaped = helper.make_node("Constant", [], ["sizes"], value_ints=[-1, channels, *size])
    nodes = [layer, reshaped, node("Reshape", "u sizes", "v")]
    check(windows(nodes, channels, size, before))


@pytest.mark.parametrize("shape", [[4, 4, 3, 4], [1, 1, 3, 4], [3, 4]])
def test_expand_of_windows(shape):
    wanted = helper.make_node("Constant", [], ["wanted"], value_ints=shape)
    nodes = [node("ReduceL2", "w", "n", axes=[3]), wanted, node("Expand", "n wanted", "e")]
    check(windows([*nodes, node("Div", "w e", "v")], 4, (3, 4)))


def test_convolutions_of_windows_keep_their_names():
    layer = node("Conv", "w k1 bias", "v", name="attention.qkv")
    view = normalise(windows([layer], 6, (3, 4)))
    assert [n.name for n in view.nodes if n.op == "Conv"] == ["attention.qkv"]


@pytest.mark.parametrize("op", ("Add", "Sub", "Mul", "Less"))
@pytest.mark.parametrize("order", ("d m", "m d"))
@pytest.mark.parametrize(
    "drop, axes",
    [("first", [1]), ("first", [2, 3]), ("first", [1, 2, 3]), ("turned", [2, 3]), ("reshape", [1, 2, 3])],
)
def test_what_has_a_batch_beside_what_has_none(op, order, drop, axes):
    nodes = [*DROPS[drop][0], node("ReduceMean", "x", "m", axes=axes), node(op, order, "y")]
    check(model(nodes, {"y": TensorProto.BOOL if op == "Less" else FLOAT}))


@pytest.mark.parametrize("equation", ["wchi,wcji->wchj", "wchi,wcji->hjcw", "wchi,wkhi->whck"])
def test_einsum_of_windows(equation):
    result = equation.partition("->")[2]
    sizes = {"w": 4, "c": 4, "h": 3, "j": 3, "k": 4, "i": 4}
    nodes = [node("Sigmoid", "w", "u"), node("Einsum", "w u", "y", equation=equation)]
    view = check(windows(nodes, 4, (3, 4), back=[]))
    assert view.nodes[-1].out_shape == tuple(sizes[x] for x in result)


def test_a_choice_between_what_has_a_batch_and_what_has_none():
    nodes = [*DROPS["first"][0], node("Where", "mask d x", "y")]
    check(make(nodes, {"x": IMAGE}, ["y"], weights(nodes) | {"mask": rand(3, 5, 7) > 0}, opset=13))


@pytest.mark.parametrize("order", ["d m", "m d"])
def test_what_has_a_batch_put_behind_what_has_none(order):
    mean = node("ReduceMean", "x", "m", axes=[1], keepdims=0)
    check(model([*DROPS["first"][0], mean, node("Concat", order, "y", axis=0)], ["y"]))


def test_einsum_of_windows_and_what_has_a_batch():
    nodes = [node("ReduceMean", "x", "m", axes=[1, 2]), node("Slice", "m zero four three", "k")]
    nodes += [node("Einsum", "w k", "y", equation="wchi,abji->wchjab")]
    model = windows(nodes, 4, (3, 4), back=[])
    for name, value in (("zero", 0), ("four", 4), ("three", 3)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], INT), name))
    check(model)


def test_samples_put_together():
    """As CrossViT takes the mean of what several heads say."""
    parts = [node("Exp", "x", "e"), node("Unsqueeze", "x zero", "xu"), node("Unsqueeze", "e zero", "eu")]
    nodes = [
        *parts,
        node("Concat", "xu eu", "both", axis=0),
        node("ReduceMean", "both", "y", axes=[0], keepdims=0),
    ]
    check(model(nodes, ["y", "both"], (1, 6)))
    check(model([node("Exp", "x", "e"), node("Concat", "x e x", "y", axis=0)], ["y"]))


@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (2, 1, 3, 5, 7), (1, 2, 3, 5, 7), (2, 3, 1, 1, 1)])
def test_expand_of_the_sample(shape):
    given = {"s": np.array(shape, INT)}
    check(make([node("Expand", "x s", "e"), node("Mul", "e x", "y")], {"x": IMAGE}, ["y", "e"], given))


@pytest.mark.parametrize(
    "times", [(1, 1, 1, 1), (1, 2, 1, 1), (1, 1, 3, 2), (1, 2, 3, 4), (2, 1, 1, 1), (3, 2, 1, 2)]
)
@pytest.mark.parametrize("shape", [IMAGE, (1, 3, 1, 1), (1, 1, 5, 1)])
def test_tile(times, shape):
    given = {"t": np.array(times, INT)}
    check(make([node("Tile", "x t", "e"), node("Abs", "e", "y")], {"x": shape}, ["y"], given))


@pytest.mark.parametrize("times", [(1, 2, 1, 3), (2, 1, 1, 1)])
def test_tile_of_windows(times):
    nodes = [helper.make_node("Constant", [], ["times"], value_ints=times), node("Tile", "w times", "y")]
    check(windows(nodes, 4, (3, 4), back=[]))


def test_windows_times_one_matrix():
    """As of a batch of matrices with one that was computed."""
    square = helper.make_node("Constant", [], ["square"], value_ints=[1, 12, 4])
    nodes = [
        *(node("ReduceMean", "x", "m", axes=[1]), square, node("Reshape", "m square", "g")),
        *(
            node("Transpose", "g", "h", perm=[0, 2, 1]),
            node("MatMul", "h g", "s"),
            node("MatMul", "w s", "v"),
        ),
    ]
    check(windows(nodes, 4, (3, 4)))


def test_windows_padded_by_more_than_a_kernel_are_refused():
    layer = node("Conv", "w k1", "v", name="n", pads=[1, 0, 0, 0])
    with pytest.raises(
        UnsupportedError, match=r"n \(Conv\): pads \[1, 0, 0, 0\] of images that have no batch; al"
    ):
        normalise(windows([layer], 6, (4, 4)))


def test_what_counts_dimensions_otherwise_is_refused():
    nodes = [*DROPS["turned"][0], node("DepthToSpace", "d", "y", blocksize=1)]
    with pytest.raises(
        UnsupportedError, match=r"\(DepthToSpace\): it reads what has no batch any more; allowed: op"
    ):
        normalise(model(nodes, ["y"]))


@pytest.mark.parametrize("axis", (1, 2, 3, -1))
@pytest.mark.parametrize("places", [[2, 1, 0], [0, 1], [1, 2], [0, 0, 1, 2, 1], [-1], 1, [[0, 1], [2, 0]]])
def test_gather_of_some(places, axis):
    gather = node("Gather", "x i", "y", name="n", axis=axis)
    check(make([gather], {"x": IMAGE}, ["y"], {"i": np.array(places, INT)}))


def test_unfold_as_torch_exports_it():
    """Rows, then columns, of each tap are every second."""
    places = {
        "i": np.arange(0, 20, 2) + np.arange(3)[:, None],
        "j": np.arange(0, 24, 2) + np.arange(3)[:, None],
    }
    nodes = [node("Gather", "x i", "r", axis=2), node("Gather", "r j", "c", axis=4)]
    nodes.append(node("Transpose", "c", "y", perm=[0, 1, 2, 4, 3, 5]))
    view = check(make(nodes, {"x": (1, 2, 22, 26)}, ["y"], places))
    assert ops(view).count("Subsample") == 6


def test_gather_of_all_is_nothing():
    view = check(
        make(
            [node("Relu", "x", "r"), node("Gather", "r i", "y", axis=1)],
            {"x": IMAGE},
            ["y"],
            {"i": np.arange(3)},
        )
    )
    assert "Subsample" not in ops(view)


@pytest.mark.parametrize("axis", (1, 2, 3))
def test_slices_backwards(axis):
    bounds = {"s": np.array([-1], INT), "e": np.array([-(1 << 62)], INT), "a": np.array([axis], INT)}
    for step in (-1, -2):
        given = bounds | {"t": np.array([step], INT)}
        check(make([node("Slice", "x s e a t", "y")], {"x": IMAGE}, ["y"], given))


def test_many_runs_are_refused():
    given = {"i": np.arange(40)[::-1].copy()}
    with pytest.raises(UnsupportedError, match="it takes 40 runs of neighbours; allowed: up to 32"):
        normalise(make([node("Gather", "x i", "y", axis=1)], {"x": (1, 40, 2, 2)}, ["y"], given))
    with pytest.raises(
        UnsupportedError, match="takes samples of the batch; allowed: the only one, or channels, r"
    ):
        normalise(make([node("Gather", "x i", "y")], {"x": (1, 4, 2, 2)}, ["y"], {"i": np.array([1], INT)}))


@pytest.mark.parametrize("size", (1, 2))
def test_a_branch_that_shapes_decide(size):
    """What torch's older exporter writes for squeeze(1) where it does not know the sizes."""
    then = helper.make_graph(
        [
            helper.make_node("Constant", [], ["axes"], value_ints=[1]),
            node("Squeeze", "i axes", "t", name="n"),
        ],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.INT64, None)],
    )
    other = helper.make_graph(
        [node("Identity", "i", "e")],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.INT64, None)],
    )
    nodes = [
        *(node("ArgMax", "x", "i", axis=2), node("Shape", "i", "s"), node("Gather", "s one", "g")),
        *(
            node("Equal", "g one", "c"),
            helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        ),
    ]
    model = make(nodes, {"x": (1, size, 5, 7)}, {"y": TensorProto.INT64}, {"one": np.array([1], INT)})
    view = check(model) if size == 1 else normalise(model)  # ONNX Runtime reads the other branch too
    assert view.nodes[-1].out_shape == ((1, 1, 7) if size == 1 else (1, 2, 1, 7))
    assert view.types == {"y": "int64"}


def test_a_branch_that_numbers_decide_is_refused():
    body = helper.make_graph(
        [node("Abs", "x", "t")], "then", [], [helper.make_tensor_value_info("t", FLOAT, None)]
    )
    nodes = [
        *(node("ReduceMax", "x", "m"), node("Greater", "m half", "c")),
        helper.make_node("If", ["c"], ["y"], name="n", then_branch=body, else_branch=body),
    ]
    with pytest.raises(UnsupportedError, match=r"^n \(If\): this operator is unsupported"):
        normalise(make(nodes, {"x": IMAGE}, ["y"], {"half": floats(0.5)}))
