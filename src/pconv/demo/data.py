"""Images to learn from and be scored on: digits that come with scikit-learn, and CIFAR-10 from a folder."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError, PconvError

Floats = NDArray[np.float32]
Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

DIGITS_TEST = 450
CIFAR_PARTS = 5
CIFAR_HELD_OUT = 5000


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


def cifar10(folder: str | Path | None = None) -> Dataset:
    """Read CIFAR-10 from `folder`/cifar10 (by default, where `find_folder` finds it).

    The last 5,000 training pictures are held out.

    Raises: ModelError when the folder or a file is missing or broken.
    """
    home = (Path(folder) if folder is not None else find_folder("cifar10")) / "cifar10"
    parts = [_cifar_part(home / f"train_{i + 1}.npz") for i in range(CIFAR_PARTS)]
    return divide_cifar(parts, _cifar_part(home / "test.npz"))


def divide_cifar(parts: Sequence[Labelled], test: Labelled) -> Dataset:
    """Make a dataset of CIFAR's files: the last 5,000 training pictures are held out (a tenth of fewer).

    Shapes: each pixels [n, 3, 32, 32] uint8 and labels [n].
    """
    train = _cifar_images(
        np.concatenate([pixels for pixels, _ in parts]), np.concatenate([labels for _, labels in parts])
    )
    cut = len(train) - min(CIFAR_HELD_OUT, len(train) // 10)
    return Dataset(
        "cifar10", train.part(slice(None, cut)), train.part(slice(cut, None)), _cifar_images(*test), 10
    )


def find_folder(holding: str) -> Path:
    """Find the folder of real data that holds `holding`: PCONV_DATA, else ../shared/data.

    Raises: ModelError when there is none.
    """
    named = os.environ.get("PCONV_DATA")
    repository = Path(__file__).resolve().parents[3]
    places = (
        [Path(named)] if named else [base.parent / "shared" / "data" for base in (Path.cwd(), repository)]
    )
    for place in places:
        if (place / holding).is_dir():
            return place
    raise ModelError(
        f"{holding}: no such folder in {places[0]}; set PCONV_DATA to a folder that holds {holding}/ "
        "or use the digits, which need no files."
    )


def decode_cifar(delta: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo the files' differences between neighbours and between channels, modulo 256.

    Shapes: [3, n, 32, 32] -> [n, 3, 32, 32] in the order red, green, blue.
    """
    pixels = np.cumsum(np.cumsum(delta, -1, dtype=np.uint8), -2, dtype=np.uint8)
    pixels[0] += pixels[1]
    pixels[2] += pixels[1]
    return pixels.swapaxes(0, 1)


def _cifar_part(path: Path) -> Labelled:
    try:
        with np.load(path) as file:
            return decode_cifar(file["delta"]), file["labels"].astype(np.int64)
    except OSError as error:
        raise ModelError(f"cifar10: cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"cifar10: {path} is not one of the data's .npz files; copy it again.") from error


def _cifar_images(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    return Images(np.ascontiguousarray(pixels), labels, mean, std)
