"""A network compiled for AArch64 and run in an emulator gives ONNX Runtime's answers; halves are in test_zoo.py."""

from pathlib import Path

import pytest

from codegen.harness import run_under_qemu
from pconv import Recipe, graph, zoo
from pconv.cache import Cache
from pconv.graph.prune import prune_model, save

from .conftest import Judge, draw, rel_err

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.cc,
]


@pytest.mark.parametrize("compression_rate", [1.0, 8.0])
def test_resnet20(compression_rate: float, judge: Judge, session_cache: Cache, tmp_path: Path) -> None:
    name = "resnet20_cifar"
    path = tmp_path / "net.onnx"
    model = graph.load(zoo.create(name), inputs=zoo.input_shape(name))
    if compression_rate > 1:
        model, _ = prune_model(model, Recipe(compression_rate=compression_rate))
    save(model, path)
    view = graph.view(graph.normalise(graph.load(path)))
    feeds = {view.inputs[0]: draw(zoo.input_shape(name))}
    results = run_under_qemu(view, session_cache, feeds, tmp_path)
    (expected,) = judge(path, feeds)
    assert rel_err(results[view.outputs[0]], expected) <= 1e-4
