"""Products of two computed matrices, and what is moved around them, against ONNX Runtime."""

import numpy as np
import pytest

from .models import INT, check, floats, ints, make, node, ops, rand


@pytest.mark.parametrize(
    "a, b",
    [
        ((1, 5, 7), (1, 7, 3)),
        ((1, 2, 5, 7), (1, 2, 7, 3)),
        ((1, 2, 3, 5, 7), (1, 2, 3, 7, 4)),
        ((1, 2, 5, 7), (1, 1, 7, 3)),
        ((1, 1, 5, 7), (1, 2, 7, 3)),
        ((1, 2, 1, 5, 7), (1, 1, 3, 7, 1)),
        ((1, 2, 5, 7), (1, 7, 3)),
        ((1, 5, 7), (1, 2, 7, 3)),
        ((1, 7), (1, 7, 3)),
        ((1, 4, 2, 5, 7), (1, 7, 3)),
    ],
)
def test_matrices(a, b):
    view = check(make([node("MatMul", "a b", "y")], {"a": a, "b": b}, ["y"]))
    assert ops(view).count("MatMul") == 1 and "Transpose" not in ops(view)


@pytest.mark.parametrize("first", [False, True])
def test_a_constant_of_many_matrices(first):
    nodes, w = [node("MatMul", "w x" if first else "x w", "y")], rand(1, 3, 6, 6)
    assert "Constant" in ops(check(make(nodes, {"x": (1, 3, 6, 6)}, ["y"], {"w": w})))


@pytest.mark.parametrize(
    "equation, a, b",
    [
        ("bhid,bhjd->bhij", (1, 2, 5, 3), (1, 2, 4, 3)),
        ("bhij,bhdj->bhid", (1, 2, 5, 4), (1, 2, 3, 4)),
        ("nctkv,nvw->nctkw", (1, 2, 3, 4, 5), (1, 5, 6)),
        ("bnhc, bmhc -> bhnm", (1, 5, 2, 3), (1, 4, 2, 3)),
        ("bic,bjd->bdicj", (1, 2, 3), (1, 4, 5)),
    ],
)
def test_einsum(equation, a, b):
    view = check(make([node("Einsum", "a b", "y", equation=equation)], {"a": a, "b": b}, ["y"]))
    assert ops(view).count("MatMul") == 1


@pytest.mark.parametrize(
    "equation, shape, first",
    [
        ("byhwc,hkc->byhwk", (4, 6, 5), False),
        ("byhwc,wkc->byhwk", (2, 6, 5), False),
        ("hkc,byhwc->byhkw", (4, 6, 5), True),
        ("byhwc,ck->bkyhw", (5, 6), False),
        ("byhwc,bkc->bykhw", (1, 6, 5), False),
    ],
)
def test_einsum_with_a_constant(equation, shape, first):
    """As MViT's positions relative to rows and columns."""
    einsum = node("Einsum", "w x" if first else "x w", "y", equation=equation)
    check(make([einsum], {"x": (1, 3, 4, 2, 5)}, ["y"], {"w": rand(*shape)}))


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("axis", [1, 2, 3, -1])
@pytest.mark.parametrize("turned", [False, True])
def test_softmax_along_any_axis_moves_nothing(axis, turned, opset):
    nodes = [node("Softmax", "x", "y", axis=axis)]
    if turned:
        turn = {"perm": [0, 2, 3, 1]}
        nodes = [
            *(node("Transpose", "x", "t", **turn), node("Softmax", "t", "s", axis=axis)),
            node("Transpose", "s", "y", perm=[0, 3, 1, 2]),
        ]
    view = check(make(nodes, {"x": (1, 4, 3, 5)}, ["y"], opset=opset))
    assert [op for op in ops(view) if op != "Flatten"] == (
        ["Softmax"] if opset > 11 or axis in (3, -1) or not turned else ["Transpose", "Softmax", "Transpose"]
    )


def attention_weights() -> dict[str, np.ndarray]:
    return {
        "w": rand(8, 3, 3, 3),
        "qkv": rand(8, 24),
        "bias": rand(24),
        "out": rand(8, 8),
        "root": floats(0.5),
        "four": floats(4.0),
    }


def attention(split) -> list:
    """Write multi-head attention over the pixels of an image as exports do."""
    return [
        *(node("Conv", "x w", "c"), node("Flatten", "c", "ignored"), node("Reshape", "c flat", "f")),
        *(
            node("Transpose", "f", "t", perm=[0, 2, 1]),
            node("MatMul", "t qkv", "p"),
            node("Add", "p bias", "a"),
        ),
        *split,
        *(node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("Mul", "q root", "qs")),
        *(node("MatMul", "qs kt", "scores"), node("Div", "scores four", "less")),
        *(node("Softmax", "less", "shares", axis=-1), node("MatMul", "shares v", "o")),
        *(node("Transpose", "o", "ot", perm=[0, 2, 1, 3]), node("Reshape", "ot rows", "r")),
        *(node("MatMul", "r out", "m"), node("Add", "t m", "s")),
        *(node("Transpose", "s", "back", perm=[0, 2, 1]), node("Reshape", "back image", "y")),
    ]


def test_attention_moves_nothing_but_heads():
    """Queries, keys and values are channels of one convolution, and factors belong to the products."""
    split = [
        *(node("Reshape", "a parts", "five"), node("Transpose", "five", "first", perm=[2, 0, 3, 1, 4])),
        *(node("Gather", f"first {i}", name, axis=0) for i, name in enumerate("qkv")),
    ]
    weights = {
        **attention_weights(),
        **ints(flat=[1, 8, -1], parts=[1, -1, 3, 2, 4], rows=[1, -1, 8], image=[1, 8, 4, 5]),
        **{str(i): np.array(i, INT) for i in range(3)},
    }
    view = check(make(attention(split), {"x": (1, 3, 6, 7)}, ["y"], weights))
    assert set(ops(view)) == {"Conv", "Subsample", "Flatten", "MatMul", "Softmax"}
    assert [n.attrs["scale"] for n in view.nodes if n.op == "MatMul"] == [0.125, 1.0]


def test_attention_whose_heads_have_their_own_parts():
    """As in LeViT: each head's queries, keys and values are neighbours, and what it gives is activated."""
    split = [
        *(node("Reshape", "a parts", "p4"), node("Split", "p4", "q1 k1 v1", axis=3)),
        *(node("Transpose", f"{it}1", it, perm=[0, 2, 1, 3]) for it in "qkv"),
    ]
    nodes = attention(split)
    at = next(i for i, it in enumerate(nodes) if it.input[0] == "r")
    nodes[at:at] = [node("HardSwish", "r", "h")]
    nodes[at + 1].input[0] = "h"
    weights = {
        **attention_weights(),
        **ints(flat=[1, 8, -1], parts=[1, -1, 2, 12], rows=[1, -1, 8], image=[1, 8, 4, 5]),
    }
    view = check(make(nodes, {"x": (1, 3, 6, 7)}, ["y"], weights))
    assert set(ops(view)) == {"Conv", "Subsample", "Flatten", "MatMul", "Softmax", "Activation"}


def test_attention_whose_sequence_comes_first():
    """As nn.MultiheadAttention has it: what has no batch in front is as good."""
    nodes = [
        *(
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("MatMul", "t w", "p"),
            node("Add", "p bias", "a"),
        ),
        *(node("Reshape", "a heads", "h"), node("Transpose", "h", "q", perm=[1, 0, 2])),
        *(
            node("Transpose", "q", "k", perm=[0, 2, 1]),
            node("MatMul", "q k", "s"),
            node("Softmax", "s", "f", axis=-1),
        ),
        *(
            node("MatMul", "f q", "o"),
            node("Transpose", "o", "ot", perm=[1, 0, 2]),
            node("Reshape", "ot rows", "r"),
        ),
        *(
            node("Gemm", "r w bias", "g"),
            node("Reshape", "g back", "b"),
            node("Transpose", "b", "y", perm=[1, 0, 2]),
        ),
    ]
    weights = {"w": rand(6, 6), "bias": rand(6), **ints(heads=[5, 2, 3], rows=[5, 6], back=[5, 1, 6])}
    view = check(make(nodes, {"x": (1, 5, 6)}, ["y"], weights))
    assert ops(view).count("MatMul") == 2


def test_rows_without_a_batch_are_normalised_and_shaped_by_their_shape():
    """As LeViT and MobileViT are exported."""
    nodes = [
        *(node("Reshape", "x s", "r"), node("MatMul", "r w", "m"), node("Add", "m bias", "a")),
        *(node("BatchNormalization", "a scale bias bias scale", "n"), node("Shape", "n", "sizes")),
        *(node("Concat", "one sizes", "target", axis=0), node("Reshape", "n target", "t")),
        *(node("Transpose", "t", "tt", perm=[0, 2, 1]), node("MatMul", "t tt", "y")),
    ]
    weights = {"w": rand(6, 4), "bias": rand(4), "scale": np.abs(rand(4)) + 0.5, **ints(s=[-1, 6], one=[1])}
    view = check(make(nodes, {"x": (1, 5, 6)}, ["y"], weights))
    assert set(ops(view)) <= {"Flatten", "Transpose", "Conv", "MatMul"}


def test_an_output_without_a_batch_behind_two_transposes():
    nodes = [
        *(node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("Transpose", "t", "u", perm=[0, 3, 1, 2])),
        node("Gather", "u zero", "y", axis=0),
    ]
    view = check(make(nodes, {"x": (1, 4, 5, 3)}, ["y"], {"zero": np.array(0, INT)}))
    assert ops(view).count("Transpose") == 1


MOVES = {
    "there and back": [[0, 2, 3, 1], (1, 12, 5), [0, 2, 1], (1, 5, 3, 4)],
    "a window": [(1, 5, 3, 2, 2), [0, 3, 1, 2, 4], (1, 2, 15, 2), [0, 3, 2, 1]],
    "parts that are cut twice": [(1, 15, 4), [0, 2, 1], (1, 2, 2, 5, 3), [0, 3, 2, 4, 1], (1, 60)],
    "parts that are put together": [[0, 3, 1, 2], (1, 2, 30), [0, 2, 1], (1, 10, 6), [0, 2, 1]],
    "what no stride says": [[0, 3, 1, 2], (1, 6, 10), [0, 2, 1]],
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_that_follow_each_other(name):
    nodes, weights, value = [], {}, "x"
    for i, step in enumerate(MOVES[name]):
        last = "y" if i == len(MOVES[name]) - 1 else f"v{i}"
        if isinstance(step, tuple):
            weights[f"s{i}"] = np.array(step, INT)
            nodes.append(node("Reshape", f"{value} s{i}", last))
        else:
            nodes.append(node("Transpose", value, last, perm=step))
        value = last
    view = check(make(nodes, {"x": (1, 5, 3, 4)}, ["y"], weights))
    most = {"there and back": 0, "what no stride says": 2}.get(name, 1)
    assert ops(view).count("Transpose") <= most
