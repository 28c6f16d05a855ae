"""Exported files give what the module gives."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pconv import BuildError, zoo

pytestmark = pytest.mark.torch
NAME = "resnet20_cifar"


def _run(path: Path, x: torch.Tensor) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def test_gives_the_same_outputs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = zoo.to_onnx(NAME, tmp_path / "net.onnx", seed=2)
    assert capfd.readouterr() == ("", ""), "exporting is quiet"
    assert path == tmp_path / "net.onnx"
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = zoo.create(NAME, seed=2)(x).numpy()
    assert np.abs(_run(path, x) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_takes_weights_and_another_shape(tmp_path: Path) -> None:
    network = zoo.create("dncnn", seed=3)
    path = zoo.to_onnx("dncnn", tmp_path / "net.onnx", weights=network.state_dict(), shape=(1, 1, 20, 12))
    x = torch.randn(1, 1, 20, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x).numpy()
    assert np.abs(_run(path, x) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BuildError, match=r"file/net.onnx: cannot be written \(Not a directory"):
        zoo.to_onnx(NAME, tmp_path / "file" / "net.onnx")
