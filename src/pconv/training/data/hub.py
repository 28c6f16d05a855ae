"""Hugging Face datasets saved on disk (`save_to_disk`): the columns of pictures and classes are found by type."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError, PconvError
from pconv.training.data.parts import Parts, Split, hold_out
from pconv.training.data.pictures import PictureSplit, require_pillow

if TYPE_CHECKING:
    from PIL.Image import Image

TRAIN, VALIDATION, TEST = "train", ("validation", "valid", "val"), "test"


@dataclass(frozen=True)
class Column:
    """The pictures of one saved split."""

    rows: Any
    column: str
    where: str

    def open(self, number: int) -> Image:
        """Decode one picture.

        Raises: ValueError where the row has none.
        """
        image: Image | None = self.rows[number][self.column]
        if image is None:
            raise ValueError("the row has none")
        return image

    def name(self, number: int) -> str:
        """Return the split and the row."""
        return f"{self.where}[{number}]"


def find_saved(path: Path, size: int) -> Parts | None:
    """Read a saved dataset; None where the folder is none.

    With validation and test splits, validation is chosen by. With one of the two, that is the test, and a
    twentieth of train is chosen by. A test split without labels (none, or -1) does not count.

    Raises: ModelError when splits or columns are missing; PconvError when the package is.
    """
    if not (path / "dataset_dict.json").is_file():
        if (path / "dataset_info.json").is_file():
            raise ModelError(
                f"{path}: one split alone; allowed is a saved DatasetDict with train and validation or test."
            )
        return None
    if find_spec("datasets") is None:
        raise PconvError(f"{path}: the datasets package is not installed; pip install datasets.")
    require_pillow()
    from datasets import load_from_disk

    try:
        saved = load_from_disk(str(path))
    except Exception as error:  # it raises many kinds for damaged folders
        raise ModelError(f"{path}: cannot be read as a saved dataset ({error}). Save it again.") from error
    return _parts(path, saved, size)


def _parts(path: Path, saved: Any, size: int) -> Parts:
    if TRAIN not in saved:
        raise ModelError(f"{path}: has no split train; it has {', '.join(saved)}.")
    image, label, classes = _columns(path, saved[TRAIN].features)
    splits: dict[str, Split] = {}
    for name in saved:
        rows = saved[name].with_format(None)  # plain values, however they were to be shown
        labels = _labels(rows, label)
        if len(labels) and labels.min() >= 0:
            if (names := tuple(getattr(rows.features[label], "names", ()))) != classes:
                raise ModelError(
                    f"{path}: its split {name} has the classes {', '.join(names) or '(none)'}, train has "
                    f"{', '.join(classes)}; allowed are the same ones in the same order."
                )
            album = Column(_decoded(path, name, rows, image), image, f"{path}: {name}")
            splits[name] = PictureSplit(album, np.arange(len(labels)), labels, size)
    if TRAIN not in splits:
        raise ModelError(
            f"{path}: its split train is empty, or has images without labels (none, or -1); allowed are labels for all."
        )
    known = [splits[name] for name in (*VALIDATION, TEST) if name in splits]
    if not known:
        raise ModelError(f"{path}: has no labelled split validation or test; it has {', '.join(saved)}.")
    both = len(known) > 1
    train, held_out = (splits[TRAIN], known[0]) if both else hold_out(splits[TRAIN])
    return Parts(path.name, train, held_out, known[-1], classes, (1, 3, size, size))


def _decoded(path: Path, split: str, rows: Any, column: str) -> Any:
    """Let pictures be decoded, also where they were saved to be given as bytes."""
    from datasets import Image as ImageFeature

    if not isinstance(rows.features.get(column), ImageFeature):
        raise ModelError(
            f"{path}: its split {split} has no column {column} of Image, which train has; it has "
            f"{_describe(rows.features)}. Save it again with that column, or without the split."
        )
    return rows.cast_column(column, ImageFeature())


def _labels(rows: Any, column: str) -> NDArray[np.int64]:
    """Read a split's labels: -1 where there is none, none at all without the column."""
    given = rows[column] if column in rows.features else []
    return np.array([-1 if label is None else label for label in given], np.int64)


def _columns(path: Path, features: Any) -> tuple[str, str, tuple[str, ...]]:
    from datasets import ClassLabel
    from datasets import Image as ImageFeature

    images = [name for name, feature in features.items() if isinstance(feature, ImageFeature)]
    labels = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    if not images or not labels:
        raise ModelError(
            f"{path}: needs a column of Image and one of ClassLabel; it has {_describe(features)}."
        )
    return images[0], labels[0], tuple(features[labels[0]].names)


def _describe(features: Any) -> str:
    return ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
