"""Real weights, some images, no labels: a pruned and compiled ResNet-20 still knows its classes."""

from pathlib import Path

import pytest

import pconv
from pconv import zoo
from pconv.demo.cifar import cifar10
from pconv.demo.train import accuracy
from pconv.graph import load
from pconv.graph.post_training import prune_calibrated
from pconv.graph.prune import save

pytestmark = [pytest.mark.data, pytest.mark.torch, pytest.mark.cc, pytest.mark.slow]


def test_resnet20_pruned_with_calibration_images(data_folder: Path, tmp_path: Path) -> None:
    """By magnitude alone it forgets most of them."""
    data = cifar10(data_folder)
    weights = data_folder / "cifar10_resnets" / "resnet20.pth"
    dense = load(zoo.to_onnx("resnet20_cifar", tmp_path / "dense.onnx", weights=weights))
    recipe = pconv.Recipe(compression_rate=2.25, exclude=("linear",))
    pruned, _ = prune_calibrated(dense, data.train.normalised(slice(0, 128)), recipe)
    save(pruned, tmp_path / "pruned.onnx")
    with pconv.compile(tmp_path / "pruned.onnx", threads=1) as engine:
        assert accuracy(engine, data.test.part(slice(0, 1000))) > 0.82
