"""Outputs that are integers or masks on an OpenCL device are those of ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import pconv
from e2e.whole import SHAPES, image, write

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
