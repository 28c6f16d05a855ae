"""The operators of mobile networks, of upscalers and of detectors, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import helper

from pconv.errors import PconvError, UnsupportedError

from .models import check, make, node, normalise, ops, rand
from .reference import execute

INT = np.int64
IMAGE = (1, 3, 5, 7)
REDUCTIONS = (
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"),
    *("ReduceL1", "ReduceL2", "ReduceSumSquare"),
)


def floats(*values):
    return np.array(values, np.float32)


FUNCTIONS = {
    "LeakyRelu": [{}, {"alpha": 0.3}],
    "Elu": [{}, {"alpha": 0.4}],
    "Selu": [{}, {"alpha": 0.7, "gamma": 2.0}],
    "Celu": [{}, {"alpha": 0.4}],
    "HardSigmoid": [{}, {"alpha": 1 / 6, "beta": 0.5}],
    "HardSwish": [{}],
    "Mish": [{}],
    "Softplus": [{}],
    "Erf": [{}],
    "Exp": [{}],
    "Neg": [{}],
    "Abs": [{}],
    "Gelu": [{}, {"approximate": "tanh"}],
    "Softsign": [{}],
}


@pytest.mark.parametrize("shape", [IMAGE, (1, 9), (1, 3, 4)])
@pytest.mark.parametrize("op, attrs", [(op, attrs) for op, all_ in FUNCTIONS.items() for attrs in all_])
def test_functions_of_one_number(op, attrs, shape):
    check(make([node(op, "x", "y", **attrs)], {"x": shape}, ["y"], opset=20))


def test_swish_of_opset_24():
    view = normalise(make([node("Swish", "x", "y")], {"x": IMAGE}, ["y"], opset=24))
    assert view.nodes[0].attrs["activation"] == "silu"
    scaled = normalise(make([node("Swish", "x", "y", alpha=2.0)], {"x": IMAGE}, ["y"], opset=24))
    assert ops(scaled) == ["Affine", "Mul"]


@pytest.mark.parametrize("slope, wanted", [((1,), "Activation"), ((3, 1, 1), "PRelu")])
def test_prelu(slope, wanted):
    view = check(make([node("PRelu", "x s", "y")], {"x": IMAGE}, ["y"], {"s": rand(*slope)}))
    assert ops(view) == [wanted]


GATES = {
    "silu": [node("Sigmoid", "x", "g"), node("Mul", "x g", "y")],
    "hardswish": [node("HardSigmoid", "x", "g", alpha=1 / 6, beta=0.5), node("Mul", "g x", "y")],
    "hardswish of old exports": [
        *(node("Add", "x three", "a"), node("Clip", "a zero six", "c")),
        *(node("Mul", "x c", "m"), node("Div", "m six", "y")),
    ],
    "hardswish divided first": [
        *(node("Add", "x three", "a"), node("Clip", "a zero six", "c")),
        *(node("Div", "c six", "g"), node("Mul", "x g", "y")),
    ],
}


@pytest.mark.parametrize("gate", GATES)
def test_gates_become_one_activation_of_the_convolution(gate):
    weights = {"w": rand(4, 3, 3, 3), "zero": floats(0)[0], "three": floats(3)[0], "six": floats(6)[0]}
    conv = node("Conv", "i w", "x", name="conv", pads=[1, 1, 1, 1])
    view = check(make([conv, *GATES[gate]], {"i": IMAGE}, ["y"], weights))
    assert [(n.op, n.attrs["activation"]) for n in view.nodes] == [("Conv", gate.split()[0])]


def test_other_gates_stay_products():
    weights = {"w": floats(0.2, 0.3, 0.2).reshape(3, 1, 1)}
    lines = [node("Mul", "x w", "l"), node("Clip", "l", "g", min=0.0, max=1.0), node("Mul", "x g", "y")]
    assert ops(check(make(lines, {"x": IMAGE}, ["y"], weights, opset=10))) == ["Affine", "Mul"]


def test_pooling_does_not_go_before_an_activation_that_falls():
    weights = {"w": rand(4, 3, 3, 3)}
    nodes = [
        node("Conv", "i w", "x"),
        *GATES["silu"],
        node("MaxPool", "y", "z", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    assert ops(check(make(nodes, {"i": (1, 3, 6, 6)}, ["z"], weights))) == ["Conv", "MaxPool"]


@pytest.mark.parametrize("op", ("Add", "Sub", "Mul", "Div"))
@pytest.mark.parametrize("order", ("a b", "b a"))
@pytest.mark.parametrize(
    "shape, other",
    [
        (IMAGE, (1, 3, 1, 1)),
        (IMAGE, (1, 1, 5, 7)),
        (IMAGE, (1, 1, 1, 1)),
        (IMAGE, (1, 3, 5, 1)),
        (IMAGE, (1, 3, 1, 7)),
        (IMAGE, (1, 1, 5, 1)),
        ((1, 3, 5, 1), (1, 3, 1, 7)),
        ((1, 3, 1, 1), (1, 1, 5, 7)),
        ((1, 9), (1, 1)),
        ((1, 4, 6), (1, 4, 1)),
        ((1, 4, 6), (1, 1, 6)),
        ((1, 2, 3, 4, 5), (1, 2, 3, 1, 1)),
        ((1, 2, 3, 4, 5), (1, 1, 3, 4, 5)),
        ((1, 2, 3, 4, 5), (1, 2, 1, 4, 5)),
        ((1, 2, 1, 4, 5), (1, 1, 3, 4, 1)),
        ((1, 1, 1, 4, 1), (1, 1, 1, 1, 1)),
    ],
)
def test_operands_that_lack_dimensions(op, order, shape, other):
    nodes = [
        node("Exp", "b", "e"),
        node("Exp", "a", "d"),
        node(op, order.replace("b", "e").replace("a", "d"), "y"),
    ]
    check(make(nodes, {"a": shape, "b": other}, ["y"]))


def test_one_number_of_fewer_dimensions():
    nodes = [node("ReduceMax", "x", "m", axes=[1, 2, 3], keepdims=0), node("Sub", "m x", "y")]
    check(make(nodes, {"x": IMAGE}, ["y"]))


@pytest.mark.parametrize("other", [(1, 3, 5), (1, 1, 1, 1, 1)])
def test_operands_that_do_not_fit(other):
    model = make([node("Add", "b a", "y", name="n")], {"a": IMAGE, "b": other}, ["y"])
    with pytest.raises(
        UnsupportedError, match=r"n \(Add\): .*; allowed: one rank, and sizes that are equal or 1"
    ):
        normalise(model)


@pytest.mark.parametrize(
    "shape, sizes",
    [((1, 1, 5, 1), [1, 3, 5, 7]), ((1, 3, 1), [3, 4]), ((1, 3, 1, 2, 1), [1, 3, 4, 2, 5]), ((1, 3, 1), [1])],
)
def test_expand(shape, sizes):
    check(make([node("Expand", "x s", "y")], {"x": shape}, ["y"], {"s": np.array(sizes, INT)}))


def test_what_arithmetic_reads_is_not_spread():
    """As torch normalises an image's channels."""
    nodes = [
        node("ReduceL2", "x", "n", axes=[1]),
        node("Clip", "n low", "c"),
        node("Expand", "c s", "e"),
        node("Div", "x e", "y"),
    ]
    view = check(make(nodes, {"x": IMAGE}, ["y"], {"low": floats(1e-12)[0], "s": np.array(IMAGE, INT)}))
    assert ops(view) == ["Mul", "Conv", "Activation", "Div"]


@pytest.mark.parametrize(
    "sizes, problem",
    [([1, 3, 5, 7], "does not fit"), ([2, 1, 5, 7], "the same batch"), ([1] * 5, "as many dim")],
)
def test_expand_that_does_not_fit(sizes, problem):
    with pytest.raises(PconvError, match=rf"n \(Expand\): .*{problem}"):
        normalise(
            make(
                [node("Expand", "x s", "y", name="n")],
                {"x": (1, 2, 5, 1)},
                ["y"],
                {"s": np.array(sizes, INT)},
            )
        )


def test_a_gate_is_no_residual():
    """A convolution whose output lacks pixels cannot add what has them."""
    nodes = [node("GlobalAveragePool", "x", "p"), node("Conv", "p w", "g"), node("Add", "g x", "y")]
    assert ops(check(make(nodes, {"x": IMAGE}, ["y"], {"w": rand(3, 3, 1, 1)}))) == [
        "GlobalAveragePool",
        "Conv",
        "Add",
    ]


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


@pytest.mark.parametrize("exponent", (2, 0.5, 1, 3, 4, 7, 16, -1, -2, -0.5, 1.5, 1 / 3, -0.7))
def test_powers(exponent):
    nodes = [node("Abs", "x", "a"), node("Pow", "a e", "p"), node("Sqrt", "p", "y")]
    check(make(nodes, {"x": IMAGE}, ["y"], {"e": floats(exponent)[0]}))


@pytest.mark.parametrize("exponent", (3, 5, -3))
def test_powers_of_what_is_negative(exponent):
    check(make([node("Pow", "x e", "y")], {"x": IMAGE}, ["y"], {"e": floats(exponent)}))


def test_logarithms_and_reciprocals():
    nodes = [
        node("Exp", "x", "e"),
        node("Softplus", "e", "s"),
        node("Reciprocal", "s", "r"),
        node("Log", "r", "y"),
    ]
    check(make(nodes, {"x": IMAGE}, ["y"]))


@pytest.mark.parametrize("op", ("Max", "Min"))
@pytest.mark.parametrize(
    "inputs", ["a b", "b a", "a zero", "half a", "a b c", "a row", "zero a half b", "a", "p a", "a row zero"]
)
def test_extremes(op, inputs):
    weights = {"zero": floats(0)[0], "half": floats(0.5), "row": rand(7)}
    shapes = {name: IMAGE if name != "p" else (1, 3, 1, 1) for name in inputs.split() if len(name) == 1}
    check(
        make(
            [node(op, inputs, "y")], shapes, ["y"], {k: v for k, v in weights.items() if k in inputs.split()}
        )
    )


@pytest.mark.parametrize("opset", (11, 13))
@pytest.mark.parametrize("shape, axis", [((1, 9), 1), (IMAGE, 1), (IMAGE, 3), ((1, 4, 6), 2), ((1, 4, 6), 1)])
def test_log_softmax(shape, axis, opset):
    """Far apart as well, where a softmax has nothing but zeros."""
    nodes = [node("Mul", "x far", "f"), node("LogSoftmax", "f", "y", axis=axis)]
    check(make(nodes, {"x": shape}, ["y"], {"far": floats(200)}, opset))


@pytest.mark.parametrize("shape", [(1, 5, 6), (1, 2, 3, 5, 6), (1, 5, 7, 6)])
def test_linear_layers_and_norms_of_tokens(shape):
    nodes = [node("LayerNormalization", "x s b", "n"), node("MatMul", "n w", "m"), node("Gelu", "m", "y")]
    weights = {"s": rand(6), "b": rand(6, seed=1), "w": rand(6, 9)}
    check(make(nodes, {"x": shape}, ["y"], weights, opset=20))


@pytest.mark.parametrize("shape", [IMAGE, (1, 3, 6), (1, 8)])
def test_constants_of_any_shape(shape):
    weights = {"c": rand(*shape), "row": rand(shape[-1])}
    nodes = [
        node("Add", "x c", "a"),
        node("Sub", "row a", "b"),
        node("Mul", "b c", "d"),
        node("Concat", "d c", "y", axis=1),
    ]
    assert "Constant" in ops(check(make(nodes, {"x": shape}, ["y"], weights)))


def test_a_constant_divided():
    nodes = [node("Exp", "x", "e"), node("Div", "one e", "y")]
    check(make(nodes, {"x": IMAGE}, ["y"], {"one": floats(1)}))


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
    with pytest.raises(UnsupportedError, match="it takes some elements of what is computed; allowed: all of"):
        normalise(make(nodes, {"x": (1, 6, 5, 7)}, ["y"], weights))


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


def test_global_max_pool():
    check(make([node("GlobalMaxPool", "x", "y")], {"x": IMAGE}, ["y"]))


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
    check(make([node("Pad", "x p v", "a"), pool], {"x": IMAGE}, ["y"], weights))


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
    {"pads": [1, 0, 1, 2]},
]


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 3)])
@pytest.mark.parametrize("attrs", TRANSPOSED)
@pytest.mark.parametrize("group", (1, 2))
def test_conv_transpose(attrs, kernel, group):
    weights = {"w": rand(4, 3, *kernel), "b": rand(3 * group)}
    node_ = node("ConvTranspose", "x w b", "y", name="up", group=group, **attrs)
    check(make([node_], {"x": (1, 4, 5, 7)}, ["y"], weights))


def test_conv_transpose_multiplies_no_zeros():
    """A kernel as large as its stride is a 1x1 convolution and an interleaving."""
    up = node("ConvTranspose", "x w", "y", strides=[2, 2])
    view = check(make([up], {"x": (1, 4, 5, 7)}, ["y"], {"w": rand(4, 3, 2, 2)}))
    assert ops(view) == ["Conv", "DepthToSpace"]
    assert view.nodes[0].weights[1].shape == (12, 4, 1, 1)


PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


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


@pytest.mark.parametrize("opset", (13, 19))
def test_weights_that_are_stored_in_8_bits(opset):
    weights = {
        "q": np.arange(-54, 54).astype(np.int8).reshape(4, 3, 3, 3),
        "s": np.array(0.02, np.float32),
        "z": np.array(3, np.int8),
    }
    nodes = [node("DequantizeLinear", "q s z", "w"), node("Conv", "x w", "y")]
    assert ops(check(make(nodes, {"x": (1, 3, 6, 6)}, ["y"], weights, opset))) == ["Conv"]


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


def test_a_product_of_unknown_shapes_is_attention_where_something_else_fails_first():
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2, 3]), node("MatMul", "t x", "y", name="n")]
    with pytest.raises(
        UnsupportedError, match=r"n \(MatMul\): it multiplies two computed matrices, as in attention;"
    ):
        normalise(make(nodes, {"x": (1, 4, 6, 6)}, ["y"]))
