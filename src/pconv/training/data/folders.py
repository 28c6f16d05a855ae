"""Folders of pictures: train/CLASS/*.jpg beside val/CLASS/*.jpg, as ImageNet is usually laid out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pconv.errors import ModelError
from pconv.training.data.parts import Parts, hold_out
from pconv.training.data.pictures import PictureSplit, require_pillow

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff", ".gif"))


@dataclass(frozen=True)
class Files:
    """Pictures in files."""

    paths: tuple[Path, ...]

    def open(self, number: int) -> Image:
        """Open one file."""
        from PIL.Image import open as open_image

        return open_image(self.paths[number])

    def name(self, number: int) -> str:
        """Return its path."""
        return str(self.paths[number])


def find_folders(path: Path, size: int) -> Parts | None:
    """Read a folder with train/ and val/ (and test/); None where there is no train/.

    With a test/ of its own, val/ is chosen by; without, a twentieth of train/ is, and val/ is the test.

    Raises: ModelError for a part without pictures, a class that train/ lacks, or has no pictures of.
    """
    if not (path / "train").is_dir():
        return None
    require_pillow()
    if not (path / "val").is_dir():
        raise ModelError(f"{path}: has train/ and no val/; allowed are train/CLASS/ and val/CLASS/ folders.")
    classes = tuple(folder.name for folder in _folders(path / "train"))
    train, val = _part(path / "train", classes, size), _part(path / "val", classes, size)
    for label, name in enumerate(classes):
        if label not in train.labels:
            raise ModelError(
                f"{path / 'train' / name}: holds no pictures; allowed are some of every class, or no such folder."
            )
    shape = (1, 3, size, size)
    if (path / "test").is_dir():
        return Parts(path.name, train, val, _part(path / "test", classes, size), classes, shape)
    fitted, held_out = hold_out(train)
    return Parts(path.name, fitted, held_out, val, classes, shape)


def _part(folder: Path, classes: tuple[str, ...], size: int) -> PictureSplit:
    paths: list[Path] = []
    labels: list[int] = []
    for entry in _folders(folder):
        if entry.name not in classes:
            raise ModelError(f"{entry}: train/ has no class of this name; allowed are the folders of train/.")
        found = sorted(_pictures(entry))
        paths += found
        labels += [classes.index(entry.name)] * len(found)
    if not paths:
        raise ModelError(
            f"{folder}: holds no pictures; allowed are CLASS/ folders of .jpg, .png and the like."
        )
    return PictureSplit(Files(tuple(paths)), np.arange(len(paths)), np.array(labels, np.int64), size)


def _folders(path: Path) -> list[Path]:
    """List the folders of the classes: not those that a system or a tool hides, such as .ipynb_checkpoints."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not _hidden(entry.name))


def _pictures(folder: Path) -> Iterator[Path]:
    """Find the files of pictures below a folder, links to folders followed; each folder counts once."""
    seen: set[str] = set()
    for place, names, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        shown = [] if real in seen else [name for name in names if not _hidden(name)]
        # Folders before links to them, so that a picture goes by its own path.
        names[:] = sorted(shown, key=lambda name: (os.path.islink(os.path.join(place, name)), name))
        if real not in seen:
            seen.add(real)
            yield from (Path(place, file) for file in files if _is_picture(file))


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not _hidden(name)


def _hidden(name: str) -> bool:
    return name.startswith(".")
