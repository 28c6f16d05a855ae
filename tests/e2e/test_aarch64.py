"""A dense network compiled for AArch64 and run in an emulator gives ONNX Runtime's answers; pruned: test_zoo.py."""

from pathlib import Path

import pytest

from codegen.harness import run_under_qemu
from pconv import graph, zoo
from pconv.cache import Cache

from .conftest import Judge, draw, rel_err

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.cc,
]


def test_resnet20(judge: Judge, session_cache: Cache, tmp_path: Path) -> None:
    name = "resnet20_cifar"
    path = zoo.to_onnx(name, tmp_path / "net.onnx")
    view = graph.view(graph.normalise(graph.load(path)))
    feeds = {view.inputs[0]: draw(zoo.input_shape(name))}
    results = run_under_qemu(view, session_cache, feeds, tmp_path)
    (expected,) = judge(path, feeds)
    assert rel_err(results[view.outputs[0]], expected) <= 1e-4
