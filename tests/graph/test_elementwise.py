"""What works element by element, and gates of it, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import TensorProto

from pconv.errors import PconvError, UnsupportedError

from .models import FLOAT, IMAGE, INT, check, floats, make, node, normalise, ops, rand

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
    "gelu": [node("Gelu", "x", "y")],
    "gelu as torch writes it": [
        *(node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a")),
        *(node("Mul", "x a", "m"), node("Mul", "m half", "y")),
    ],
    "gelu halved first": [
        *(node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "one e", "a")),
        *(node("Mul", "half x", "h"), node("Mul", "h a", "y")),
    ],
    "gelu whose gate is halved": [
        *(node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a")),
        *(node("Div", "a two", "g"), node("Mul", "g x", "y")),
    ],
    "gelu whose gate is a line": [
        *(node("Mul", "x half", "h"), node("Mul", "h root", "d"), node("Erf", "d", "e")),
        *(node("Mul", "e half", "l"), node("Add", "l half", "g"), node("Mul", "x g", "y")),
    ],
    "gelutanh": [node("Gelu", "x", "y", approximate="tanh")],
    "gelutanh as torch writes it": [
        *(node("Mul", "x x", "s"), node("Mul", "s x", "c"), node("Mul", "kappa c", "k")),
        *(node("Add", "x k", "q"), node("Mul", "beta q", "u"), node("Tanh", "u", "t")),
        *(node("Add", "one t", "a"), node("Mul", "half x", "h"), node("Mul", "h a", "y")),
    ],
    "gelutanh by a power": [
        *(node("Pow", "x three", "c"), node("Mul", "c kappa", "k"), node("Add", "x k", "q")),
        *(node("Mul", "q beta", "u"), node("Tanh", "u", "t"), node("Add", "t one", "a")),
        *(node("Mul", "x a", "m"), node("Mul", "m half", "y")),
    ],
    "gelutanh with x outside": [
        *(node("Mul", "x x", "s"), node("Mul", "s kappa", "k"), node("Add", "k one", "q")),
        *(node("Mul", "x beta", "v"), node("Mul", "v q", "u"), node("Tanh", "u", "t")),
        *(node("Add", "t one", "a"), node("Mul", "a half", "g"), node("Mul", "x g", "y")),
    ],
    "gelutanh by a sigmoid": [
        *(node("Pow", "x three", "c"), node("Mul", "c kappa", "k"), node("Add", "x k", "q")),
        *(node("Mul", "q beta", "v"), node("Mul", "v two", "u")),
        *(node("Sigmoid", "u", "g"), node("Mul", "x g", "y")),
    ],
    "quickgelu": [node("Mul", "x quick", "q"), node("Sigmoid", "q", "g"), node("Mul", "x g", "y")],
    "quickgelu by a tanh": [
        *(node("Mul", "x quick", "q"), node("Div", "q two", "h"), node("Tanh", "h", "t")),
        *(node("Add", "t one", "a"), node("Mul", "a x", "m"), node("Div", "m two", "y")),
    ],
}
NUMBERS = {"zero": 0, "half": 0.5, "one": 1, "root": 2**0.5, "two": 2, "three": 3, "six": 6}
NUMBERS |= {"kappa": 0.044715, "beta": (2 / np.pi) ** 0.5, "quick": 1.702}
CONSTANTS = {name: floats(value)[0] for name, value in NUMBERS.items()}


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


@pytest.mark.parametrize("gate", GATES)
def test_gates_become_one_activation_of_the_convolution(gate):
    conv = node("Conv", "i w", "x", name="conv", pads=[1, 1, 1, 1])
    weights = {"w": rand(4, 3, 3, 3), **CONSTANTS}
    view = check(make([conv, *GATES[gate]], {"i": IMAGE}, ["y"], weights, opset=20))
    assert [(n.op, n.attrs["activation"]) for n in view.nodes] == [("Conv", gate.split()[0])]


@pytest.mark.parametrize("gate", [gate for gate in GATES if "gelu" in gate])
@pytest.mark.parametrize("shape, op", [((1, 6), "Gemm"), ((1, 5, 6), "Conv")])
def test_gelu_of_linear_layers(gate, shape, op):
    nodes = [node("MatMul", "i w", "p"), node("Add", "p b", "x"), *GATES[gate]]
    view = check(make(nodes, {"i": shape}, ["y"], {"w": rand(6, 9), "b": rand(9), **CONSTANTS}, opset=20))
    assert [n.attrs["activation"] for n in view.nodes if n.op == op] == [gate.split()[0]]
    assert not {"Activation", "Affine", "Mul"} & {*ops(view)}


@pytest.mark.parametrize(
    "inner, shift, factor", [("two", "one", "half"), ("root", "two", "half"), ("root", "one", "two")]
)
def test_what_is_almost_gelu_stays_a_product(inner, shift, factor):
    nodes = [
        *(node("Div", f"x {inner}", "d"), node("Erf", "d", "e"), node("Add", f"e {shift}", "a")),
        *(node("Mul", "x a", "m"), node("Mul", f"m {factor}", "y")),
    ]
    view = check(make(nodes, {"x": IMAGE}, ["y"], CONSTANTS))
    assert (view.nodes[0].op, view.nodes[0].attrs["activation"]) == ("Affine", "erf")
    assert "Mul" in ops(view)


@pytest.mark.parametrize("cubic, power", [("half", "three"), ("kappa", "two")])
def test_what_is_almost_gelu_by_tanh_stays_a_product(cubic, power):
    nodes = [
        *(node("Pow", f"x {power}", "c"), node("Mul", f"c {cubic}", "k"), node("Add", "x k", "p")),
        *(node("Mul", "p beta", "i"), node("Tanh", "i", "t"), node("Add", "t one", "a")),
        *(node("Mul", "x a", "m"), node("Mul", "m half", "y")),
    ]
    view = check(make(nodes, {"x": IMAGE}, ["y"], CONSTANTS))
    assert "tanh" in {n.attrs.get("activation") for n in view.nodes}


def test_other_gates_stay_products():
    weights = {"w": floats(0.2, 0.3, 0.2).reshape(3, 1, 1)}
    lines = [node("Mul", "x w", "l"), node("Clip", "l", "g", min=0.0, max=1.0), node("Mul", "x g", "y")]
    assert ops(check(make(lines, {"x": IMAGE}, ["y"], weights, opset=10))) == ["Affine", "Mul"]


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


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("op", ["Neg", "HardSigmoid", "Softsign", "Selu", "Ceil"])
def test_one_number_per_sample(op, batch):
    """Of shape [n], which has no channels."""
    nodes = [
        node("ReduceL2", "x", "m", axes=[1, 2, 3], keepdims=0),
        node("Relu", "m", "p"),
        node(op, "p", "y"),
    ]
    check(make(nodes, {"x": (batch, 3, 5, 7)}, ["y"]))


def test_one_number_per_sample_is_compared_and_chosen():
    nodes = [
        *(node("ReduceL2", "x", "m", axes=[1, 2, 3], keepdims=0), node("Relu", "m", "p")),
        *(node("Exp", "p", "e"), node("Less", "p two", "l"), node("Greater", "e two", "g")),
        *(node("And", "l g", "a"), node("Not", "a", "c"), node("Where", "c p e", "y")),
    ]
    check(make(nodes, {"x": IMAGE}, ["y"], CONSTANTS))


@pytest.mark.parametrize("op", ("Add", "Div", "Max", "Greater"))
@pytest.mark.parametrize("order", ("a b", "b a"))
@pytest.mark.parametrize(
    "shape, other",
    [
        (IMAGE, (1, 5, 7)),
        (IMAGE, (1, 7)),
        (IMAGE, (1, 1)),
        (IMAGE, (1, 1, 1, 1, 1)),
        ((1, 9), (1, 4, 9)),
        ((1, 9), (1, 1, 9)),
        ((1, 4, 1), (1, 2, 4, 6)),
        ((1, 2, 1, 4, 1), (1, 3, 1, 5)),
    ],
)
def test_operands_of_fewer_dimensions(op, order, shape, other):
    nodes = [node("Exp", "a", "d"), node(op, order.replace("a", "d"), "y")]
    check(make(nodes, {"a": shape, "b": other}, {"y": TensorProto.BOOL if op == "Greater" else FLOAT}))


@pytest.mark.parametrize("constant", [(2, 1, 1, 1, 7), (1, 1, 1, 1, 1), (5, 7), (1, 2, 3, 5, 7)])
def test_constants_of_other_ranks(constant):
    nodes = [node("Exp", "x", "e"), node("Mul", "e c", "y")]
    model = make(nodes, {"x": IMAGE}, ["y"], {"c": rand(*constant)})
    if constant[0] == 2:
        with pytest.raises(UnsupportedError, match="a constant of shape"):
            normalise(model)
    else:
        check(model)


@pytest.mark.parametrize(
    "shape, other, found",
    [
        (IMAGE, (1, 3, 5), [[1, 1, 3, 5], [1, 3, 5, 7]]),
        (("n", 3, 5, 7), ("n", 5, 7), [[1, 5, 7], [1, 3, 5, 7]]),
    ],
)
def test_operands_that_do_not_fit(shape, other, found):
    model = make([node("Add", "b a", "y", name="n")], {"a": shape, "b": other}, ["y"])
    with pytest.raises(UnsupportedError) as refused:
        normalise(model)
    assert str(refused.value).startswith(
        f"n (Add): activations of shapes {found[0]} and {found[1]}; allowed: sizes that are equal or 1, and one rank "
        "where the batch is open."
    )


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
                {"x": ("n", 2, 5, 1)},
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


@pytest.mark.parametrize("operands", ["p m", "m p"])
@pytest.mark.parametrize("axes, perm", [([1], [0, 1, 2]), ([1], [0, 2, 1]), ([1, 2], [0, 1, 2])])
def test_a_pixel_with_channels_last_beside_another(operands, axes, perm):
    """That has its channels, as many of another dimension, or a single one."""
    nodes = [
        *(node("ReduceMean", "x", "first", axes=[1]), node("MatMul", "first w", "p")),
        *(node("ReduceMean", "x", "mean", axes=axes), node("Transpose", "mean", "m", perm=perm)),
        node("Sub", operands, "y"),
    ]
    check(make(nodes, {"x": (1, 7, 5)}, ["y"], {"w": rand(5, 5)}))


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


def test_pooling_does_not_go_before_an_activation_that_falls():
    weights = {"w": rand(4, 3, 3, 3)}
    nodes = [
        node("Conv", "i w", "x"),
        *GATES["silu"],
        node("MaxPool", "y", "z", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    assert ops(check(make(nodes, {"i": (1, 3, 6, 6)}, ["z"], weights))) == ["Conv", "MaxPool"]
