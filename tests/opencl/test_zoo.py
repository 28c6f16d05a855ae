"""Networks of the zoo, pruned, give on an OpenCL device what ONNX Runtime gives.

`benchmarks/opencl.py zoo` does the same for every network, dense and pruned in two groups, at its own image size.
"""

from pathlib import Path

import numpy as np
import pytest

import pconv
from pconv import zoo
from pconv.graph import load
from pconv.graph.prune import prune_model, save

pytestmark = [pytest.mark.opencl, pytest.mark.torch]

TOLERANCE = {"opencl": 1e-4, "opencl-fp16": 2e-2}
IMAGENET = ("resnet18", "mobilenet_v2")


def check(name: str, size: int, group: int, target: str, folder: Path) -> None:
    """Compare a network, pruned 8x, on one image."""
    onnxruntime = pytest.importorskip("onnxruntime")
    shape = (1, zoo.input_shape(name)[1], size, size)
    model, _ = prune_model(
        load(zoo.to_onnx(name, folder / "dense.onnx", shape=shape)),
        pconv.Recipe(compression_rate=8.0, group=group),
    )
    save(model, folder / "net.onnx")
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    session = onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    with pconv.compile(folder / "net.onnx", target=target, cache=False) as engine:
        assert np.abs(engine(x) - expected).max() <= TOLERANCE[target] * np.abs(expected).max()
        engine.path.unlink()


def test_float(tmp_path: Path) -> None:
    check("resnet20_cifar", 32, 1, "opencl", tmp_path)


@pytest.mark.slow
def test_half_storage(tmp_path: Path) -> None:
    check("resnet20_cifar", 32, 4, "opencl-fp16", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet(name: str, tmp_path: Path) -> None:
    check(name, 64, 4, "opencl", tmp_path)
