"""Exported files give what the module gives, and appear whole or not at all."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from pconv import ModelError, zoo
from pconv.zoo import export

pytestmark = pytest.mark.torch


def _run(path: Path, x: torch.Tensor) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["output"], {"input": x.numpy()})[0]


def test_gives_the_same_outputs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = zoo.to_onnx("resnet20_cifar", tmp_path / "net.onnx", seed=2)
    assert capfd.readouterr() == ("", ""), "exporting is quiet"
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = zoo.create("resnet20_cifar", seed=2)(x).numpy()
    assert np.abs(_run(path, x) - expected).max() <= 1e-5 * np.abs(expected).max()
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    assert logging.root.manager.disable == logging.NOTSET


def test_takes_another_shape(tmp_path: Path) -> None:
    path = zoo.to_onnx("dncnn", tmp_path / "net.onnx", shape=(1, 1, 20, 12))
    assert _run(path, torch.zeros(1, 1, 20, 12)).shape == (1, 1, 20, 12)


def test_large_weights_go_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "INLINE_BYTES_MAX", 1000)
    path = zoo.to_onnx("resnet20_cifar", tmp_path / "net.onnx")
    assert len(list(tmp_path.iterdir())) == 2
    assert _run(path, torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent/net.onnx: cannot write the ONNX file: No such file"):
        zoo.to_onnx("resnet20_cifar", tmp_path / "absent" / "net.onnx")
