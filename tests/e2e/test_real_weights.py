"""Networks with their real weights: ONNX Runtime's answers, torch's answers, and the published accuracy."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pconv
from pconv import zoo
from pconv.demo.cifar import cifar10

from .conftest import Judge, draw, rel_err

pytestmark = [pytest.mark.data, pytest.mark.torch, pytest.mark.cc, pytest.mark.slow]


def check(path: Path, x: np.ndarray, judge: Judge) -> np.ndarray:
    """Compare with ONNX Runtime on one thread and on two; return our output."""
    with pconv.compile(path, threads=1) as engine:
        (expected,) = judge(path, {engine.inputs[0].name: x})
        one = engine(x)
        engine.threads = 2
        np.testing.assert_array_equal(engine(x), one)
    assert rel_err(one, expected) <= 1e-4
    return one


def test_squeezenet(data_folder: Path, judge: Judge) -> None:
    path = data_folder / "squeezenet_v1.1" / "squeezenet_v1.1.onnx"
    check(path, 50 * draw((1, 3, 227, 227)), judge)


def test_espcn(data_folder: Path, judge: Judge) -> None:
    path = data_folder / "espcn_x3" / "espcn_x3.onnx"
    check(path, np.abs(draw((1, 1, 224, 224))) % 1, judge)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dncnn", "dncnn_sigma25/dncnn_25.pth"),
        ("resnet20_cifar", "cifar10_resnets/resnet20.pth"),
        ("resnet56_cifar", "cifar10_resnets/resnet56.pth"),
    ],
)
def test_state_dicts(name: str, file: str, data_folder: Path, judge: Judge, tmp_path: Path) -> None:
    weights = data_folder / file
    x = draw(zoo.input_shape(name))
    ours = check(zoo.to_onnx(name, tmp_path / "net.onnx", weights=weights), x, judge)
    with torch.no_grad():
        expected = zoo.create(name, weights=weights)(torch.from_numpy(x)).numpy()
    assert rel_err(ours, expected) <= 1e-4


def test_resnet20_scores_its_published_accuracy(data_folder: Path, tmp_path: Path) -> None:
    weights = data_folder / "cifar10_resnets" / "resnet20.pth"
    images = cifar10(data_folder).test
    assert len(images) == 10_000
    with pconv.compile(zoo.to_onnx("resnet20_cifar", tmp_path / "net.onnx", weights=weights)) as engine:
        right = sum(int((engine(x).argmax(1) == labels).sum()) for x, labels in images.batches(250))
    assert right == 9173
