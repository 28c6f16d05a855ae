"""CIFAR-10 as parts to train on."""

from __future__ import annotations

from pathlib import Path

from pconv.demo import cifar
from pconv.training.data.arrays import ArraySplit
from pconv.training.data.parts import Parts

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def find_cifar(path: Path) -> Parts | None:
    """Read CIFAR-10 where a folder holds it, itself or under a usual name; None where it does not.

    Raises: ModelError when a file is missing or broken.
    """
    dataset = cifar.find_cifar(path)
    if dataset is None:
        return None
    train, held_out, test = (ArraySplit(part) for part in (dataset.train, dataset.held_out, dataset.test))
    return Parts(dataset.name, train, held_out, test, CLASSES, dataset.train.shape)
