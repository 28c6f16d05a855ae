"""Whole small networks from ONNX give what ONNX Runtime gives, on every target."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.models import normalise
from pconv.cache import Cache
from pconv.targets import Target

from .harness import (
    HOSTS,
    Feeds,
    Results,
    assert_right,
    by_onnxruntime,
    random_feeds,
    run_here,
    run_under_qemu,
)
from .networks import NETWORKS
from .random_network import random_network


def assert_like_onnxruntime(model: onnx.ModelProto, feeds: Feeds, results: Results) -> None:
    for name, want in by_onnxruntime(model, feeds).items():
        atol = 1e-5 * np.abs(want).max()
        np.testing.assert_allclose(results[name], want, rtol=1e-4, atol=atol, err_msg=name)


@pytest.mark.cc
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("target", HOSTS)
def test_on_this_machine(target: Target, name: str, session_cache: Cache) -> None:
    model = NETWORKS[name]()
    view = normalise(model)
    feeds = random_feeds(view)
    assert_like_onnxruntime(model, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.cc
@pytest.mark.parametrize("seed", [5, 6])
@pytest.mark.parametrize("target", HOSTS)
def test_random_on_this_machine(target: Target, seed: int, session_cache: Cache) -> None:
    view = random_network(seed, nodes=40)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.qemu
def test_random_on_aarch64(session_cache: Cache, tmp_path: Path) -> None:
    view = random_network(7, nodes=40)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_under_qemu(view, session_cache, feeds, tmp_path))


@pytest.mark.qemu
@pytest.mark.parametrize("name", NETWORKS)
def test_on_aarch64(name: str, session_cache: Cache, tmp_path: Path) -> None:
    model = NETWORKS[name]()
    view = normalise(model)
    feeds = random_feeds(view)
    assert_like_onnxruntime(model, feeds, run_under_qemu(view, session_cache, feeds, tmp_path))
