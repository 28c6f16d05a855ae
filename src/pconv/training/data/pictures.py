"""Images of any size, one file each: opened and augmented with Pillow, in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pconv.errors import ModelError, PconvError
from pconv.pictures import as_bytes
from pconv.training.augment import centre_crop, random_resized_crop
from pconv.training.data.parts import Draw, Rows, Split, mix
from pconv.training.distributed import Ranks

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

Key = tuple[int, int | None]


class Album(Protocol):
    """Pictures by number."""

    def open(self, number: int) -> Image:
        """Open one."""
        ...

    def name(self, number: int) -> str:
        """Say which one it is, for messages."""
        ...


class PictureSplit(Split):
    """Hold an album, and the numbers in it that belong to this part."""

    def __init__(self, album: Album, numbers: Rows, labels: NDArray[np.int64], size: int) -> None:
        self.album, self.numbers, self.labels, self.size = album, numbers, labels, size

    def take(self, rows: Rows) -> PictureSplit:
        """Return some of the pictures, in that order."""
        return PictureSplit(self.album, self.numbers[rows], self.labels[rows], self.size)

    def batches(
        self, draws: Sequence[Draw], device: torch.device, ranks: Ranks, workers: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Give this rank's share of each draw, read ahead by `workers` processes.

        Raises: ModelError when a picture cannot be read.
        """
        keys = [_keys(draw, ranks) for draw in draws]
        loader = DataLoader(
            _Pictures(self), batch_sampler=keys, num_workers=workers, pin_memory=device.type == "cuda"
        )
        try:
            for x, y in loader:
                x = x.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
                yield x, y.to(device, non_blocking=True)
        except ModelError as error:  # from a worker it comes with a traceback, its own text last
            raise ModelError(str(error).strip().splitlines()[-1].split("ModelError: ")[-1]) from error

    def read(self, row: int, seed: int | None) -> NDArray[np.float32]:
        """Open one picture, augmented where there is a seed.

        Shapes: [3, size, size] float32.
        Raises: ModelError when it is no picture.
        """
        from PIL.Image import DecompressionBombError

        number = int(self.numbers[row])
        try:
            image = as_bytes(self.album.open(number), "RGB")
        except (
            OSError,
            ValueError,
            SyntaxError,
            DecompressionBombError,
        ) as error:  # as Pillow does for broken files
            reason = " ".join(str(error).split())
            raise ModelError(
                f"{self.album.name(number)}: cannot be read as a picture ({reason}). Remove or replace it."
            ) from error
        cut = centre_crop(image, self.size) if seed is None else random_resized_crop(image, self.size, seed)
        x = (np.asarray(cut, np.float32) / 255.0 - MEAN) / STD
        return np.ascontiguousarray(x.transpose(2, 0, 1))


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, split: PictureSplit) -> None:
        self.split = split

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        row, seed = key
        return torch.from_numpy(self.split.read(row, seed)), int(self.split.labels[row])


def _keys(draw: Draw, ranks: Ranks) -> list[Key]:
    positions = range(len(draw.rows))[draw.share(ranks)]
    seed = draw.seed
    return [(int(draw.rows[i]), None if seed is None else mix(seed, i)) for i in positions]


def require_pillow() -> None:
    """Check that pictures can be opened.

    Raises: PconvError when Pillow is missing.
    """
    if find_spec("PIL") is None:
        raise PconvError("pictures: Pillow is not installed; pip install pillow.")
