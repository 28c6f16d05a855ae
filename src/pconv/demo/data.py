"""Images to learn from and be scored on; digits, which come with scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError, PconvError

Floats = NDArray[np.float32]

DIGITS_TEST = 450


@dataclass(frozen=True)
class Images:
    """Labelled pictures as bytes, with the mean and standard deviation (of pixels in 0..1) to read them with.

    Shapes: pixels [n, c, h, w] uint8, labels [n] int64, mean and std [c].
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: Floats
    std: Floats

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What a network reads: one picture, as (1, c, h, w)."""
        _, channels, height, width = self.pixels.shape
        return 1, channels, height, width

    def part(self, rows: slice) -> Images:
        """Take some of the pictures, without copying them."""
        return Images(self.pixels[rows], self.labels[rows], self.mean, self.std)

    def normalised(self, rows: slice | NDArray[np.int64]) -> Floats:
        """Read some pictures as a network wants them.

        Shapes: [rows, c, h, w] float32.
        """
        scale = 1.0 / (255.0 * self.std)
        shift = self.mean / self.std
        out: Floats = self.pixels[rows] * scale[:, None, None] - shift[:, None, None]
        return out.astype(np.float32, copy=False)

    def batches(self, size: int) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
        """Go through all pictures in order."""
        for begin in range(0, len(self), size):
            rows = slice(begin, begin + size)
            yield self.normalised(rows), self.labels[rows]


@dataclass(frozen=True)
class Dataset:
    """Pictures to fit on, and pictures that are only ever scored.

    `held_out` is for choosing settings, `test` for reporting.
    """

    name: str
    train: Images
    held_out: Images
    test: Images
    classes: int


def digits() -> Dataset:
    """Read scikit-learn's 1,797 handwritten digits, enlarged from 8x8 to 16x16, in a fixed split.

    Raises: PconvError when scikit-learn is missing.
    """
    if find_spec("sklearn") is None:
        raise PconvError(
            "digits: scikit-learn is not installed, and the images come with it; pip install scikit-learn."
        )
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    pixels = enlarge(raw.reshape(-1, 1, 8, 8) * (255.0 / 16.0))
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(labels))
    every = Images(
        np.rint(pixels[order]).astype(np.uint8),
        labels[order].astype(np.int64),
        mean=np.array([0.3], np.float32),
        std=np.array([0.35], np.float32),
    )
    test, held_out = slice(0, DIGITS_TEST), slice(DIGITS_TEST, DIGITS_TEST + 150)
    return Dataset(
        "digits", every.part(slice(held_out.stop, None)), every.part(held_out), every.part(test), 10
    )


def enlarge(pixels: NDArray[np.floating]) -> NDArray[np.floating]:
    """Double height and width by bilinear interpolation between pixel centres.

    Shapes: [n, c, h, w] -> [n, c, 2h, 2w].
    """
    for axis in (2, 3):
        pixels = np.moveaxis(pixels, axis, -1)
        padded = np.pad(pixels, [(0, 0)] * 3 + [(1, 1)], mode="edge")
        before, after = padded[..., :-2], padded[..., 2:]
        pair = np.stack([0.75 * pixels + 0.25 * before, 0.75 * pixels + 0.25 * after], axis=-1)
        pixels = np.moveaxis(pair.reshape(*pair.shape[:-2], -1), -1, axis)
    return pixels


def find_folder(*names: str) -> Path:
    """Find the folder of real data that holds a folder of one of these names: what PCONV_DATA says.

    Raises: ModelError when there is none.
    """
    named = os.environ.get("PCONV_DATA")
    if named and any((Path(named) / name).is_dir() for name in names):
        return Path(named)
    where = f"no such folder in {named}" if named else "PCONV_DATA is not set"
    raise ModelError(
        f"{names[0]}: {where}; set it to a folder that holds {' or '.join(f'{name}/' for name in names)}, "
        "or use the digits, which need no files."
    )
