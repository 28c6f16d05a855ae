"""Images that fit into memory as bytes: a batch is cut out, augmented and normalised in torch, on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pconv.demo.data import Images
from pconv.training.augment import crop_and_flip
from pconv.training.data.parts import Draw, Rows, Split
from pconv.training.distributed import Ranks


class ArraySplit(Split):
    """Hold images as one array of bytes."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.labels = images.labels

    def take(self, rows: Rows) -> ArraySplit:
        """Return some of the images, in that order."""
        images = self.images
        return ArraySplit(Images(images.pixels[rows], images.labels[rows], images.mean, images.std))

    def batches(
        self, draws: Sequence[Draw], device: torch.device, ranks: Ranks, workers: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Give this rank's share of each draw; no workers are needed."""
        pixels = torch.from_numpy(self.images.pixels).to(device)
        labels = torch.from_numpy(self.labels).to(device)
        mean, std = (
            torch.from_numpy(self.images.mean).to(device),
            torch.from_numpy(self.images.std).to(device),
        )
        scale = (1.0 / (255.0 * std))[:, None, None]
        shift = (mean / std)[:, None, None]
        for draw in draws:
            rows = torch.from_numpy(draw.rows).to(device)
            x = pixels[rows]
            if draw.seed is not None:
                # For the whole batch, before this rank takes its part: chance does not depend on the ranks.
                x = crop_and_flip(x, torch.Generator().manual_seed(draw.seed))
            mine = draw.share(ranks)
            x = x[mine].contiguous(memory_format=torch.channels_last)
            yield x.float() * scale - shift, labels[rows[mine]]
