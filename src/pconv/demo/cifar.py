"""CIFAR-10 from the files of its home page (Python pickles or binary), or from compact .npz files.

Those, `cifar10/train_1.npz` to `train_5.npz` and `test.npz`, hold `labels` and `delta`, which `decode_cifar` explains.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.demo.data import Dataset, Images, find_folder
from pconv.errors import ModelError

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

PARTS = 5
HELD_OUT = 5000
PICKLES, BINARY, COMPACT = "cifar-10-batches-py", "cifar-10-batches-bin", "cifar10"
BATCHES = (*(f"data_batch_{i + 1}" for i in range(PARTS)), "test_batch")
PIXELS = 3 * 32 * 32
CLASSES = 10
FEWEST = 10
"""Training images that leave one to be held out."""
RECORD = 1 + PIXELS

# All that the pickles hold besides plain values. Anything else in a pickle would run code.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def cifar10(folder: str | Path | None = None) -> Dataset:
    """Read CIFAR-10 from a folder that holds it, by default that of PCONV_DATA.

    The last 5,000 training pictures are held out.

    Raises: ModelError when there is none, or a file is missing or broken.
    """
    path = cifar_folder() if folder is None else Path(folder)
    found = find_cifar(path)
    if found is None:
        raise ModelError(
            f"cifar10: {path} holds no files of CIFAR-10; name the folder that {PICKLES}/ is in."
        )
    return found


def cifar_folder() -> Path:
    """Find the folder of real data that holds CIFAR-10.

    Raises: ModelError when there is none.
    """
    return find_folder(COMPACT, PICKLES, BINARY)


def find_cifar(path: Path) -> Dataset | None:
    """Read CIFAR-10 where a folder holds it, itself or under a usual name; None where it does not.

    Raises: ModelError when a file is missing or broken.
    """
    for folder, suffix, read in ((PICKLES, "", _read_pickle), (BINARY, ".bin", _read_binary)):
        for home in (path, path / folder):
            files = [home / f"{name}{suffix}" for name in BATCHES]
            if any(file.is_file() for file in files):
                return _read_all(home, files, read)
    for home in (path, path / COMPACT):
        files = [*(home / f"train_{i + 1}.npz" for i in range(PARTS)), home / "test.npz"]
        if any(file.is_file() for file in files):
            return _read_all(home, files, _read_compact)
    return None


def _read_all(home: Path, files: Sequence[Path], read: Callable[[Path], Labelled]) -> Dataset:
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            f"cifar10: {home} has no {', '.join(missing)}; all of {files[0].name} to {files[-2].name} and "
            f"{files[-1].name} are needed. Copy the missing files there."
        )
    *parts, test = (_checked(file, *read(file)) for file in files)
    train = _images(
        np.concatenate([pixels for pixels, _ in parts]), np.concatenate([labels for _, labels in parts])
    )
    if len(train) < FEWEST or not len(test[1]):
        raise ModelError(
            f"cifar10: {home} holds {len(train)} training images and {len(test[1])} to test; allowed are {FEWEST} and "
            "1 or more. Copy the files again."
        )
    cut = len(train) - min(HELD_OUT, len(train) // 10)
    held_out = train.part(slice(cut, None))
    return Dataset("cifar10", train.part(slice(None, cut)), held_out, _images(*test), CLASSES)


def _checked(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Labelled:
    """Check that there is a label for each picture, and that it names a class."""
    if labels.shape != (len(pixels),):
        raise ModelError(f"cifar10: {path} has {len(pixels)} images and {labels.size} labels; copy it again.")
    wrong = labels[(labels < 0) | (labels >= CLASSES)]
    if len(wrong):
        raise ModelError(
            f"cifar10: {path} has the label {wrong[0]}, allowed are 0 to {CLASSES - 1}; copy it again."
        )
    return pixels, labels


def _images(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    return Images(np.ascontiguousarray(pixels), labels, mean, std)


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


def _read_compact(path: Path) -> Labelled:
    try:
        with np.load(path) as file:
            return decode_cifar(file["delta"]), file["labels"].astype(np.int64)
    except OSError as error:
        raise ModelError(f"cifar10: cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"cifar10: {path} is not one of the data's .npz files; copy it again.") from error


def decode_cifar(delta: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo the files' differences between neighbours and between channels, modulo 256.

    Shapes: [3, n, 32, 32] -> [n, 3, 32, 32] in the order red, green, blue.
    """
    pixels = np.cumsum(np.cumsum(delta, -1, dtype=np.uint8), -2, dtype=np.uint8)
    pixels[0] += pixels[1]
    pixels[2] += pixels[1]
    return pixels.swapaxes(0, 1)
