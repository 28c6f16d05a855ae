"""Dilated convolutions in parts, compiled: dense and pruned, on every target."""

from pathlib import Path

import numpy as np
import pytest

from graph.models import normalise
from graph.test_dilated import dilated
from pconv import targets
from pconv.cache import Cache
from pconv.graph import GraphView
from pconv.targets import Target

from .harness import EVERY_CORE, HOSTS, assert_right, random_feeds, run_here, run_under_qemu


def view(image: tuple[int, int], kept: float = 1.0, **options: object) -> GraphView:
    """Normalise a dilated convolution; of each filter's kernels some are `kept`, with four weights each."""
    model = dilated(image, **{"channels": 24, **options})
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "c.weight")
    values = np.frombuffer(weight.raw_data, np.float32).reshape(tuple(weight.dims)).copy()
    if kept < 1.0:
        random = np.random.default_rng(0)
        values *= (random.random(values.shape[:2]) < kept)[:, :, None, None]
        values[..., 0, 0] = values[..., 2, :] = values[..., 0, 2] = 0
        weight.raw_data = values.tobytes()
    return normalise(model)


VIEWS = {
    "phases": view((33, 40), apart=(6, 8)),
    "phases_pruned": view((33, 33), kept=0.3),
    "taps": view((20, 13)),
    "taps_pruned": view((20, 13), kept=0.3, group=2, channels=32),
    "depthwise": view((20, 13), group=24, filters=24),
    "one_tap": view((11, 12)),
    "winograd": view((17, 30), apart=(2, 2), channels=16, filters=16),
    "causal": view((1, 200), size=(1, 3), apart=(1, 32), pads=[0, 64, 0, 0]),
}
each_view = pytest.mark.parametrize("graph", list(VIEWS.values()), ids=list(VIEWS))


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
@each_view
def test_answers_here(graph: GraphView, target: Target, session_cache: Cache) -> None:
    feeds = random_feeds(graph)
    assert_right(graph, feeds, run_here(graph, target, session_cache, feeds))


@pytest.mark.cc
@pytest.mark.qemu
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@each_view
def test_answers_on_aarch64(graph: GraphView, dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    feeds = random_feeds(graph)
    target = targets.get("linux-aarch64", dtype=dtype)
    answers = run_under_qemu(graph, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype][-1:])
    assert_right(graph, feeds, answers, dtype)
