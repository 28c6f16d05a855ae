"""What differs between the demo's datasets: where the network comes from, how hard it is pruned and tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pconv import zoo
from pconv.demo.cifar import cifar10
from pconv.demo.data import Dataset, Images, digits, find_folder
from pconv.demo.net import DigitsNet
from pconv.demo.train import fit
from pconv.errors import PconvError
from pconv.recipe import Recipe

OnShare = Callable[[float, str], object]
"""Hears how much is done, 0..1, and what."""
CIFAR_NETWORK = "resnet20_cifar"
SEED = 0


@dataclass(frozen=True)
class Job:
    """Describe one demo. `settings` are what `fit` takes to fine-tune on the first `tune_images` pictures."""

    network: str
    data: Callable[[], Dataset]
    dense_stage: str
    dense: Callable[[Dataset, OnShare], nn.Module]
    recipe: Recipe
    tune_images: int | None
    settings: Mapping[str, Any]

    def tune(
        self,
        module: nn.Module,
        images: Images,
        teacher: nn.Module,
        after_step: Callable[[], object],
        progress: OnShare,
    ) -> None:
        """Fine-tune a pruned network, with the dense one as its teacher."""
        part = images.part(slice(0, self.tune_images))
        fit(
            module,
            part,
            seed=SEED,
            teacher=teacher,
            after_step=after_step,
            on_batch=_report(progress),
            **self.settings,
        )


def find_job(dataset: str) -> Job:
    """Look a dataset's demo up.

    Raises: PconvError for an unknown name.
    """
    if dataset not in JOBS:
        raise PconvError(
            f"demo: dataset {dataset!r} is unknown; allowed {', '.join(JOBS)}. Choose one of those."
        )
    return JOBS[dataset]


def _digits_dense(data: Dataset, progress: OnShare) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = DigitsNet(data.classes)
    return fit(
        network, data.train, epochs=5, lr=0.1, batch=32, shift=1, seed=SEED, on_batch=_report(progress)
    )


def _cifar_dense(data: Dataset, progress: OnShare) -> nn.Module:
    weights = find_folder("cifar10_resnets") / "cifar10_resnets" / "resnet20.pth"
    return zoo.create(CIFAR_NETWORK, weights=weights)


def _report(progress: OnShare) -> Callable[[int, int, float], object]:
    return lambda done, total, loss: progress(done / total, f"loss {loss:.3f}")


# Classifiers stay dense: they hold 0.3% of the multiply-adds, and small ones are the most sensitive layer.
JOBS: dict[str, Job] = {
    "digits": Job(
        network="six 3x3 convolutions",
        data=digits,
        dense_stage="train",
        dense=_digits_dense,
        recipe=Recipe(compression_rate=8.0, exclude=("classifier",)),
        tune_images=None,
        settings={"epochs": 3, "lr": 0.05, "batch": 32, "shift": 1},
    ),
    "cifar10": Job(
        network=CIFAR_NETWORK,
        data=cifar10,
        dense_stage="load weights",
        dense=_cifar_dense,
        recipe=Recipe(compression_rate=2.25, exclude=("linear",)),
        tune_images=30_000,
        settings={"epochs": 1, "lr": 0.05, "batch": 128, "shift": 4, "flip": True, "threads": 2},
    ),
}
