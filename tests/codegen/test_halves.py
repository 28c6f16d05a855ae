"""Halves where a network also computes with floats, or holds numbers that no half is, against ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.models import floats, make, node, normalise
from pconv import targets
from pconv.cache import Cache
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.targets import Target

from .harness import EVERY_CORE, TOLERANCE, Feeds, by_onnxruntime, random_feeds, run_under_qemu

HALVES = [dtype for dtype in EVERY_CORE if dtype != "fp32"]


def target(dtype: str) -> Target:
    return targets.get("aarch64", dtype=dtype)


def check(
    model: onnx.ModelProto, view: GraphView, feeds: Feeds, dtype: str, cache: Cache, work: Path
) -> None:
    results = run_under_qemu(view, cache, feeds, work, target(dtype), EVERY_CORE[dtype][-1:])
    for name, want in by_onnxruntime(model, feeds).items():
        np.testing.assert_allclose(results[name], want, rtol=0, atol=TOLERANCE[dtype] * np.abs(want).max())


def gated() -> onnx.ModelProto:
    """Weigh attention, which is dense and in floats, head by head with what a linear layer says of each."""
    nodes = [
        node("MatMul", "q k", "s"),
        node("Softmax", "s", "p", axis=-1),
        node("Gemm", "g w", "gate"),
        node("Reshape", "gate shape", "gates"),
        node("Mul", "p gates", "weighed"),
        node("MatMul", "weighed v", "y"),
    ]
    inputs = {"q": (1, 8, 6, 4), "k": (1, 8, 4, 6), "v": (1, 8, 6, 5), "g": (1, 12)}
    weights = {"w": np.eye(12, 8, dtype=np.float32), "shape": np.array([1, 8, 1, 1])}
    return make(nodes, inputs, ["y"], weights)


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", HALVES)
def test_a_gate_of_halves_on_dense_floats(dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    view = normalise(model := gated())
    check(model, view, random_feeds(view), dtype, session_cache, tmp_path)


@pytest.mark.parametrize("dtype", HALVES)
def test_both_operands_are_of_one_type(dtype: str) -> None:
    steps = [step for step in lower(normalise(gated()), target(dtype)).steps if step.op == "Mul"]
    assert [len({tensor.layout.dtype for tensor in step.inputs}) for step in steps] == [1]


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("how", ["where", "add"])
def test_a_mask_below_all_halves(how: str, dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    """-1e9 is -inf in a half, and that times 0 is no number."""
    lower_triangle = np.where(np.tril(np.ones((6, 6))), 0, -1e9).astype(np.float32)[None, None]
    mask = {
        "where": [node("Less", "keep half", "off"), node("Where", "off low s", "masked")],
        "add": [node("Mul", "s keep", "t"), node("Add", "t triangle", "masked")],
    }[how]
    nodes = [node("MatMul", "q k", "s"), *mask, node("Softmax", "masked", "y", axis=-1)]
    weights = {"half": floats(0.5), "low": floats(-1e9), "triangle": lower_triangle}
    used = {name: array for name, array in weights.items() if any(name in each.input for each in nodes)}
    inputs = {"q": (1, 4, 6, 4), "k": (1, 4, 4, 6), "keep": (1, 4, 6, 6)}
    view = normalise(model := make(nodes, inputs, ["y"], used))
    feeds = random_feeds(view)
    feeds["keep"] = (np.random.default_rng(1).random(inputs["keep"]) > 0.4).astype(np.float32)
    feeds["keep"][..., 0] = 1  # no row is masked everywhere
    check(model, view, feeds, dtype, session_cache, tmp_path)
