"""Outputs that are integers or masks on an OpenCL device are those of ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import pconv
from e2e.whole import SHAPES, image, write
from graph.models import INT, make, node, rand

pytestmark = pytest.mark.opencl


@pytest.mark.parametrize("target", ["opencl", "opencl-fp16"])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_compiled(shape: tuple[int, ...], target: str, tmp_path: Path) -> None:
    path, x = write(tmp_path / "net.onnx", shape), image(shape)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with pconv.compile(path, target=target, cache=False) as engine:
        for got, want in zip(engine(x), session.run(None, {"x": x}), strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        engine.path.unlink()


def test_an_output_without_a_batch() -> None:
    nodes = [
        node("Relu", "x", "r"),
        node("Transpose", "r", "l", perm=[0, 2, 3, 1]),
        node("Reshape", "l s", "d"),
        node("Exp", "d", "y"),
    ]
    model, x = make(nodes, {"x": (1, 3, 5, 7)}, ["y"], {"s": np.array([-1, 3], INT)}), rand(1, 3, 5, 7)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with pconv.compile(model, target="opencl", cache=False) as engine:
        assert engine.outputs[0].shape == (35, 3)
        np.testing.assert_allclose(engine(x), session.run(None, {"x": x})[0], rtol=1e-5)
        engine.path.unlink()
