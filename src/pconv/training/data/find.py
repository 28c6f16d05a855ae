"""Which kind of data a path holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pconv.errors import ModelError
from pconv.training.data.cifar import find_cifar
from pconv.training.data.folders import find_folders
from pconv.training.data.hub import find_saved
from pconv.training.data.parts import Parts


def open_data(path: str | Path, size: int, images: int | None = None) -> Parts:
    """Open CIFAR-10, a folder of pictures or a saved Hugging Face dataset, whichever the path holds.

    `size` is that of the pictures a network reads, where they are files; `images` takes only so many for
    training (a fixed random choice, as files are sorted by class).

    Raises: ModelError when it is none of them, or broken; PconvError when a package is missing.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"{path}: no such folder; give one with CIFAR-10's files, or with train/ and val/.")
    found = find_cifar(path) or find_saved(path, size) or find_folders(path, size)
    if found is None:
        raise ModelError(
            f"{path}: holds no data that is known; allowed are CIFAR-10's files (pickles or binary), "
            "train/CLASS/ and val/CLASS/ folders of pictures, and a Hugging Face dataset saved on disk."
        )
    if len(found.classes) < 2 or not len(found.train):
        raise ModelError(
            f"{path}: it has classes {', '.join(found.classes)} and {len(found.train)} images to fit; allowed are two "
            "classes or more, and more than one image in train/."
        )
    if not len(found.held_out):
        raise ModelError(
            f"{path}: none of its {len(found.train)} training images can be held out to choose the best epoch by: each "
            "is the only one of its class. Add some, or a part of their own: val/ beside test/, or a split validation."
        )
    return found if images is None else shorten(found, images)


def shorten(parts: Parts, images: int) -> Parts:
    """Keep so many training images, a fixed random choice."""
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(parts.train))
    rows = np.sort(order[:images])
    return replace(parts, train=parts.train.take(rows), shortened=len(rows) < len(parts.train))
