"""Softmaxes of what is masked with -inf, compiled, against ONNX Runtime: zeros are zeros."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.models import make, node, normalise
from pconv.cache import Cache
from pconv.targets import Target

from .harness import HOSTS, Feeds, Results, by_onnxruntime, run_here, run_under_qemu

SHAPES = {"rows": (1, 3, 5, 49), "columns": (1, 2, 7, 75)}
AXES = {"rows": 3, "columns": 2}


def masked() -> tuple[onnx.ModelProto, Feeds]:
    """Return softmaxes along neighbours and along what lies apart, and numbers of which many are -inf or far apart."""
    nodes = [node("Softmax", name, f"{name}.y", axis=axis) for name, axis in AXES.items()]
    random = np.random.default_rng(3)
    feeds = {name: random.normal(size=shape).astype(np.float32) * 60 for name, shape in SHAPES.items()}
    for name, x in feeds.items():
        x[random.random(x.shape) < 0.5] = -np.inf
        first = [slice(None)] * 4
        first[AXES[name]] = slice(0, 1)
        x[tuple(first)] = 0  # no position is masked everywhere
    return make(nodes, SHAPES, [f"{name}.y" for name in SHAPES]), feeds


def check(model: onnx.ModelProto, feeds: Feeds, results: Results) -> None:
    for name, want in by_onnxruntime(model, feeds).items():
        np.testing.assert_allclose(results[name], want, rtol=1e-4, atol=1e-37, err_msg=name)
        assert (results[name][np.isneginf(feeds[name.removesuffix(".y")])] == 0).all()


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_what_is_masked_is_zero(target: Target, session_cache: Cache) -> None:
    model, feeds = masked()
    check(model, feeds, run_here(normalise(model), target, session_cache, feeds))


@pytest.mark.qemu
def test_what_is_masked_is_zero_on_aarch64(session_cache: Cache, tmp_path: Path) -> None:
    model, feeds = masked()
    check(model, feeds, run_under_qemu(normalise(model), session_cache, feeds, tmp_path))
