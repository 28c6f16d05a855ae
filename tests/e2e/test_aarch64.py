"""Dense networks compiled for AArch64 and run in an emulator give ONNX Runtime's answers; pruned: test_zoo.py.

`benchmarks/aarch64_zoo.py` does the same for every network, dense and pruned.
"""

from pathlib import Path

import pytest

from codegen.harness import EVERY_CORE, run_under_qemu
from pconv import graph, targets, zoo
from pconv.cache import Cache

from .conftest import Judge, draw, rel_err

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.cc,
]


@pytest.mark.parametrize("name", ["resnet20_cifar", "mobilenet_v2"])
@pytest.mark.parametrize(("dtype", "allowed"), [("fp32", 1e-4), ("fp16", 2e-2)])
def test_dense(
    name: str, dtype: str, allowed: float, judge: Judge, session_cache: Cache, tmp_path: Path
) -> None:
    path = zoo.to_onnx(name, tmp_path / "net.onnx", shape=(1, 3, 32, 32))
    view = graph.view(graph.normalise(graph.load(path)))
    feeds = {view.inputs[0]: draw((1, 3, 32, 32))}
    target = targets.get("aarch64", dtype=dtype)
    results = run_under_qemu(view, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype])
    (expected,) = judge(path, feeds)
    assert rel_err(results[view.outputs[0]], expected) <= allowed
