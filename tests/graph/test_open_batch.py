"""Where the number of samples is open, each is computed alone; what would mix several of them is refused."""

import re

import numpy as np
import onnxruntime
import pytest

from pconv.errors import UnsupportedError

from .models import FLOAT, INT, check, make, node, normalise, rand
from .reference import execute

WEIGHTS = {
    "flat": np.array([1, -1], INT),
    "fixed": np.array([1, 60], INT),
    "turns": np.array([-1, 5, 12], INT),
    "rows": np.array([0, 3, 20], INT),
    "wide": np.array([1, 2, 3, 4, 5], INT),
    "zero": np.array([0], INT),
    "w": rand(60, 2),
    "ones": np.array([1, 1, 5], INT),
    "five": rand(1, 1, 1, 5),
    "rest": np.array([12, 5], INT),
}


def model(*nodes, **inputs):
    used = {name: WEIGHTS[name] for it in nodes for name in it.input if name in WEIGHTS}
    return make(nodes, inputs or {"x": ("n", 3, 4, 5)}, ["y"], used)


MIXING = {
    "another axis in front": (
        node("Unsqueeze", "x zero", "y", name="n"), (3, 4, 5),
        "n (Unsqueeze): of one sample it gives [1, 1, 3, 4, 5], of {n} [1, {n}, 3, 4, 5], so it mixes them;"),
    "all samples in a row": (
        node("Reshape", "x flat", "y", name="n"), (3, 4, 5),
        "n (Reshape): of one sample it gives [1, 60], of {n} [1, {all}], so it mixes them;"),
    "the batch behind an axis of size 1": (
        node("Transpose", "x", "y", name="n", perm=[1, 0, 2, 3]), (1, 4, 5),
        "n (Transpose): of one sample it gives [1, 1, 4, 5], of {n} [1, {n}, 4, 5], so it mixes them;"),
}  # fmt: skip


@pytest.mark.parametrize("case", MIXING)
def test_what_mixes_samples_is_refused(case):
    mixing, sizes, want = MIXING[case]
    for batch, count in {"n": 61, 4: 4}.items():
        said = want.format(n=count, all=60 * count)
        with pytest.raises(UnsupportedError, match="^" + re.escape(said)):
            normalise(model(mixing, x=(batch, *sizes)))
    check(model(mixing, x=("n", *sizes)), inputs=[(1, *sizes)])


@pytest.mark.parametrize("batch", ["n", 3])
@pytest.mark.parametrize("op", ["Add", "Div", "Max"])
def test_a_batch_does_not_meet_the_channels(op, batch):
    """The samples of [n, 1, 1] would stand beside the channels of [n, 3, 4, 5]: of one sample, alone, all is well."""
    beside = node(op, "x s", "y", name="n")
    with pytest.raises(
        UnsupportedError, match=r"^n \(.*\[1, 1, 1\].*; allowed: .*one rank where the batch is open"
    ):
        normalise(model(beside, x=(batch, 3, 4, 5), s=(batch, 1, 1)))
    check(model(beside, x=("n", 3, 4, 5), s=("n", 1, 1)), inputs=[(1, 3, 4, 5), (1, 1, 1)])


APART = {
    "rows": [node("Reshape", "x rows", "y")],
    "turns": [node("Reshape", "x turns", "y")],
    "shape": [
        node("Shape", "x", "s", start=0, end=1),
        node("Concat", "s rest", "t", axis=0),
        node("Reshape", "x t", "y"),
    ],
    "the same for each sample": [
        node("Shape", "x", "s", start=0, end=1),
        node("Concat", "s ones", "t", axis=0),
        node("Expand", "five t", "e"),
        node("Add", "x e", "y"),
    ],
    "broadcast": [node("GlobalAveragePool", "x", "p"), node("Mul", "x p", "y")],
}


@pytest.mark.parametrize("case", APART)
def test_what_keeps_samples_apart(case):
    apart = model(*APART[case])
    view = normalise(apart)
    x = rand(3, 3, 4, 5)
    want = onnxruntime.InferenceSession(apart.SerializeToString()).run(None, {"x": x})[0]
    got = [execute(view, {"x": sample[None]})["y"] for sample in x]
    np.testing.assert_allclose(np.concatenate(got), want, atol=1e-5)


COUNTING = [node("Shape", "x", "s"), node("Gather", "s zero", "k"), node("Cast", "k", "f", to=FLOAT)]
COUNTED = {
    "Div": ([*COUNTING, node("Div", "x f", "y", name="n")], "with [1.0] of one sample, with [{n}.0] of {n};"),
    "Pow": (
        [node("Size", "x", "k"), node("Cast", "k", "f", to=FLOAT), node("Pow", "x f", "y", name="n")],
        "with 60.0 of one sample, with {all}.0 of {n};",
    ),
}  # fmt: skip


@pytest.mark.parametrize("op", COUNTED)
@pytest.mark.parametrize("batch, count", [("n", 61), (4, 4)])
def test_what_computes_with_the_number_of_samples_is_refused(op, batch, count):
    nodes, want = COUNTED[op]
    said = f"n ({op}): it computes {want.format(n=count, all=60 * count)}"
    with pytest.raises(UnsupportedError, match="^" + re.escape(said)):
        normalise(model(*nodes, x=(batch, 3, 4, 5)))


def test_the_number_of_one_sample_may_be_computed_with():
    check(model(*COUNTED["Div"][0], x=(1, 3, 4, 5)))


def test_what_cannot_be_computed_for_several_is_computed_for_one():
    nodes = [node("Reshape", "x fixed", "r"), node("MatMul", "r w", "y")]
    check(model(*nodes))
