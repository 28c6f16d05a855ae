"""The contract between images and the loop: a `Split` turns planned draws into batches on a device.

A plan says in advance which images make up each batch and seeds their augmentation, from seed, epoch and
step alone. So a run can stop anywhere and go on, and any number of ranks shares one global batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pconv.training.distributed import Ranks

Rows = NDArray[np.int64]
MAX_HELD_OUT = 10_000
HELD_OUT_SHARE = 20


@dataclass(frozen=True)
class Draw:
    """One global batch: its images, and the seed of their augmentation (None = take them as they are)."""

    rows: Rows
    seed: int | None = None

    def share(self, ranks: Ranks) -> slice:
        """Say which positions of the batch are this rank's."""
        return slice(ranks.rank, len(self.rows), ranks.world)


class Split(ABC):
    """Labelled images of one part of a data set."""

    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def take(self, rows: Rows) -> Split:
        """Return some of the images, in that order."""

    @abstractmethod
    def batches(
        self, draws: Sequence[Draw], device: torch.device, ranks: Ranks, workers: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Give this rank's share of each draw.

        Shapes: images [n, c, h, w] float32 in channels_last, normalised; labels [n] int64.
        """


@dataclass(frozen=True)
class Parts:
    """A data set: fit on `train`, choose by `held_out`, report on `test`, once.

    `shortened` says that `train` is not all there is.
    """

    name: str
    train: Split
    held_out: Split
    test: Split
    classes: tuple[str, ...]
    shape: tuple[int, int, int, int]
    shortened: bool = False


def plan_epoch(count: int, batch: int, seed: int, epoch: int) -> list[Draw]:
    """Plan an epoch: a new permutation, without the rest that fills no batch."""
    order = np.random.Generator(np.random.PCG64((seed, epoch))).permutation(count)
    size = min(batch, count)
    return [
        Draw(order[step * size : (step + 1) * size], mix(seed, epoch, step)) for step in range(count // size)
    ]


def in_order(count: int, batch: int) -> list[Draw]:
    """Plan to see every image once, as it is."""
    rows = np.arange(count)
    return [Draw(rows[begin : begin + batch]) for begin in range(0, count, batch)]


def mix(*numbers: int) -> int:
    """Make one seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def hold_out(train: Split) -> tuple[Split, Split]:
    """Split a fixed random twentieth off the training images, 10,000 at most, and never the last one of a class."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(train))
    wanted = min(MAX_HELD_OUT, max(1, len(train) // HELD_OUT_SHARE))
    left = np.bincount(train.labels)
    held_out = np.zeros(len(train), bool)
    for row in order[::-1]:
        if wanted and left[train.labels[row]] > 1:
            held_out[row] = True
            left[train.labels[row]] -= 1
            wanted -= 1
    return train.take(np.flatnonzero(~held_out)), train.take(np.flatnonzero(held_out))
