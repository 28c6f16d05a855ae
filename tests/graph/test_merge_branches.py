"""Branches of one image that are added become one convolution, against ONNX Runtime."""

import numpy as np
import pytest

from .models import check, make, node, ops, rand

IMAGE = (1, 4, 5, 7)


def conv(output, size, reads="x", *, filters=4, channels=4, name="", **attrs):
    """Make a convolution that keeps the image's size, and its weights."""
    name = name or f"{output}.weight"
    pads = [side * (size // 2) for side in attrs.get("dilations", [1, 1])] * 2
    return node("Conv", f"{reads} {name}", output, **{"pads": pads, **attrs}), {
        name: rand(filters, channels, size, size, seed=len(output))
    }


def norm(output, reads="x"):
    names = [f"{output}.{part}" for part in ("scale", "shift", "mean", "var")]
    weights = {name: np.abs(rand(4, seed=i)) + 0.1 for i, name in enumerate(names)}
    return node("BatchNormalization", f"{reads} {' '.join(names)}", output), weights


def model(*parts, image=IMAGE, **more):
    nodes = [part[0] if isinstance(part, tuple) else part for part in parts]
    weights = {k: v for part in parts if isinstance(part, tuple) for k, v in part[1].items()} | more
    return make(nodes, {"x": image}, ["y"], weights)


ADD = node("Add", "a b", "y")
MERGED = {
    "a smaller one in the middle": model(conv("a", 3), conv("b", 1), ADD),
    "the smaller one first": model(conv("b", 1), conv("a", 3), ADD),
    "of one size": model(conv("a", 3), conv("b", 3, name="other"), ADD),
    "a batch norm": model(conv("a", 3), norm("b"), ADD),
    "the image itself": model(conv("a", 3), node("Add", "x a", "y")),
    "taps of another dilation": model(conv("a", 5), conv("b", 3, dilations=[2, 2]), ADD),
    "groups": model(
        conv("a", 3, channels=2, group=2), conv("b", 1, channels=2, group=2), norm("c"),
        node("Add", "a b", "ab"), node("Add", "ab c", "y")),
    "depthwise, and what follows": model(
        conv("a", 5, channels=1, group=4), conv("b", 3, channels=1, group=4), node("Add", "a b", "ab"),
        node("Add", "x ab", "abx"), norm("n", "abx"), node("Relu", "n", "y")),
    "strides": model(
        conv("a", 3, strides=[2, 2]), conv("b", 1, strides=[2, 2]), ADD),
    "four branches and a norm": model(
        *(conv(each, 3, name=f"{each}.w") for each in "abcd"), norm("n"), node("Add", "n a", "s"),
        node("Add", "s b", "t"), node("Add", "t c", "u"), node("Add", "u d", "v"), node("Relu", "v", "y")),
}  # fmt: skip


@pytest.mark.parametrize("case", MERGED)
def test_added_branches_are_one_convolution(case):
    assert ops(check(MERGED[case])) == ["Conv"]


def sparse(part, keep):
    """Leave only some weights of a convolution, by the number of their place."""
    made, weights = part
    places = np.arange(next(iter(weights.values())).size)
    return made, {
        k: np.where(keep(places).reshape(v.shape), v, 0).astype(np.float32) for k, v in weights.items()
    }


def every(number):
    return lambda places: places % number == 0


APART = {
    "of other images": (model(node("Relu", "x", "r"), conv("a", 3), conv("b", 1, "r"), ADD), 3),
    "an activation between": (model(conv("a", 3), conv("c", 1), node("Relu", "c", "b"), ADD), 2),
    "one that is read twice": (
        model(conv("a", 3), conv("b", 1), node("Add", "a b", "s"), node("Mul", "s a", "y")),
        3,
    ),
    "taps outside": (model(conv("a", 3), conv("b", 3, dilations=[2, 2]), ADD), 2),
    "taps between": (model(conv("a", 3, dilations=[2, 2]), conv("b", 3, name="other"), ADD), 2),
    "other groups": (model(conv("a", 3, channels=2, group=2), conv("b", 1), ADD), 2),
    "one value a channel": (model(conv("a", 3), node("GlobalAveragePool", "x", "b"), ADD), 3),
    "the image of another size": (
        model(
            conv("a", 1, strides=[2, 2]), node("MaxPool", "x", "b", kernel_shape=[1, 1], strides=[2, 2]), ADD
        ),
        2,
    ),
    "pruned weights": (model(sparse(conv("a", 3), every(4)), conv("b", 1), ADD), 2),
    "the image beside pruned weights": (model(sparse(conv("a", 3), every(4)), node("Add", "x a", "y")), 1),
}


@pytest.mark.parametrize("case", APART)
def test_other_branches_stay(case):
    apart, nodes = APART[case]
    view = check(apart)
    assert len(view.nodes) == nodes
    if len(ops(view)) == 1:
        assert view.nodes[0].residual == "x"


def test_weights_pruned_in_the_same_places_merge():
    both = model(sparse(conv("a", 3), every(4)), sparse(conv("b", 3, name="other"), every(8)), ADD)
    view = check(both)
    assert ops(view) == ["Conv"]
    assert np.count_nonzero(view.nodes[0].weights[1]) == 36
