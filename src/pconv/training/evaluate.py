"""How many images a network gets right, and whether a change between two networks means anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pconv.pruning.mode import evaluating
from pconv.training.data import Split, in_order
from pconv.training.distributed import ALONE, Ranks

BATCH = 250


@dataclass(frozen=True)
class Change:
    """The change of accuracy between two networks on the same images, in points, with its standard error."""

    points: float
    standard_error: float


@torch.no_grad()
def right_answers(
    module: nn.Module, split: Split, device: torch.device, ranks: Ranks = ALONE, workers: int = 0
) -> NDArray[np.bool_]:
    """Say for each of this rank's images whether the largest output is its class.

    Shapes: [n] for one rank.
    """
    # The last batch may hold fewer images than there are ranks.
    draws = [draw for draw in in_order(len(split), BATCH) if ranks.rank < len(draw.rows)]
    with evaluating(module):
        right = [
            (module(x).argmax(1) == y).cpu().numpy() for x, y in split.batches(draws, device, ranks, workers)
        ]
    return np.concatenate([np.zeros(0, bool), *right])


def accuracy(
    module: nn.Module, split: Split, device: torch.device, ranks: Ranks = ALONE, workers: int = 0
) -> float:
    """Return the share of images, 0..1, that a network gets right, over all ranks."""
    right = right_answers(module, split, device, ranks, workers)
    correct, count = ranks.total(float(right.sum()), float(len(right)))
    return correct / count


def paired_change(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Change:
    """Compare two networks image by image."""
    difference = after.astype(np.float64) - before.astype(np.float64)
    error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
    return Change(100 * float(difference.mean()), 100 * float(error))
