"""CIFAR-10 from the files of its home page (Python pickles or binary), or from this project's .npz files."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pconv.demo.data import CIFAR_PARTS, Dataset, Labelled, cifar10, divide_cifar
from pconv.errors import ModelError
from pconv.training.data.arrays import ArraySplit
from pconv.training.data.parts import Parts

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PICKLES, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"
BATCHES = (*(f"data_batch_{i + 1}" for i in range(CIFAR_PARTS)), "test_batch")
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS

# All that the pickles hold besides plain values. Anything else in a pickle would run code.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def find_cifar(path: Path) -> Parts | None:
    """Read CIFAR-10 where a folder holds it, itself or under the usual name; None where it does not.

    Raises: ModelError when a file is missing or broken.
    """
    for folder, suffix, read in ((PICKLES, "", _read_pickle), (BINARY, ".bin", _read_binary)):
        for home in (path, path / folder):
            files = [home / f"{name}{suffix}" for name in BATCHES]
            if any(file.is_file() for file in files):
                return _parts(_read_all(home, files, read))
    for home in (path.parent if path.name == "cifar10" else path, path):
        if (home / "cifar10" / "train_1.npz").is_file():
            return _parts(cifar10(home))
    return None


def _parts(dataset: Dataset) -> Parts:
    train, held_out, test = (ArraySplit(part) for part in (dataset.train, dataset.held_out, dataset.test))
    return Parts(dataset.name, train, held_out, test, CLASSES, dataset.train.shape)


def _read_all(home: Path, files: Sequence[Path], read: Callable[[Path], Labelled]) -> Dataset:
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            f"cifar10: {home} has no {', '.join(missing)}; all of data_batch_1 to data_batch_{CIFAR_PARTS} and "
            "test_batch are needed. Copy the missing files there."
        )
    *train, test = map(read, files)
    return divide_cifar(train, test)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which CIFAR-10 does not")
        return super().find_class(module, name)


def _read_pickle(path: Path) -> Labelled:
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
        pixels, labels = batch[b"data"], batch[b"labels"]
        return pixels.reshape(-1, 3, 32, 32), np.asarray(labels, np.int64)
    except OSError as error:
        raise ModelError(f"cifar10: cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise ModelError(f"cifar10: {path} is no batch of CIFAR-10 ({error}); copy it again.") from error


def _read_binary(path: Path) -> Labelled:
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ModelError(f"cifar10: cannot read {path}: {error.strerror or error}.") from error
    if not len(raw) or len(raw) % RECORD:
        raise ModelError(
            f"cifar10: {path} has {len(raw)} bytes, allowed is a multiple of {RECORD}; copy it again."
        )
    records = raw.reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
