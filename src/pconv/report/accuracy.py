"""Accuracy against compression, as it stands in result files: of `pconv train`, or of scripts under benchmarks/.

A result is any object with `accuracy` (0..1) and `compression_rate`; a file holds one, or a list of them under
"results". `model`, `method` and `patterns` tell the curves apart, or where there are none the file's name;
`accuracy_dense` is where they come from. What lacks one of the two, or has null there, is no result.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from pconv.errors import PconvError

LABELS = ("model", "method", "patterns")
ALLOWED = {
    "accuracy": "a number from 0 to 1",
    "compression_rate": "a finite number above 0",
    "accuracy_dense": "a number from 0 to 1, or null",
}


@dataclass(frozen=True)
class Point:
    """One network: its compression rate, accuracy 0..1, and whether its run was shortened."""

    compression: float
    accuracy: float
    shortened: bool = False


@dataclass(frozen=True)
class Series:
    """The points of one model and method, from low to high compression; `dense` is the accuracy before."""

    label: str
    points: tuple[Point, ...]
    dense: float | None = None


def read_series(paths: Sequence[Path]) -> list[Series]:
    """Collect the results of several files into curves.

    Raises: PconvError when a file cannot be read or holds no results, or impossible ones.
    """
    curves: dict[str, list[Point]] = {}
    dense: dict[str, float] = {}
    for path in paths:
        for entry in _entries(path):
            label = ", ".join(str(entry[key]) for key in LABELS if entry.get(key)) or path.stem
            point = Point(
                float(entry["compression_rate"]), float(entry["accuracy"]), bool(entry.get("shortened"))
            )
            curves.setdefault(label, []).append(point)
            if entry.get("accuracy_dense") is not None:
                dense[label] = float(entry["accuracy_dense"])
    return [
        Series(label, tuple(sorted(points, key=lambda point: point.compression)), dense.get(label))
        for label, points in curves.items()
    ]


def _entries(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PconvError(f"{path}: cannot read the results ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise PconvError(
            f"{path}: not JSON ({error}); allowed are the result files of pconv train."
        ) from error
    found = document.get("results", [document]) if isinstance(document, dict) else document
    entries = []
    for i, entry in enumerate(found if isinstance(found, list) else []):
        if isinstance(entry, dict) and None not in (entry.get("accuracy"), entry.get("compression_rate")):
            _require_numbers(path, i, entry)
            entries.append(entry)
    if not entries:
        raise PconvError(
            f"{path}: holds no results; allowed are objects with accuracy (0 to 1) and compression_rate, one or "
            'a list under "results".'
        )
    return entries


def _require_numbers(path: Path, i: int, entry: Mapping[str, Any]) -> None:
    for key, allowed in ALLOWED.items():
        value = entry.get(key)
        if value is not None and not _is_fine(key, value):
            raise PconvError(f"{path}: result {i + 1}: {key} is {shortened(value)}; allowed is {allowed}.")


def _is_fine(key: str, value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value <= sys.float_info.max if key == "compression_rate" else 0 <= value <= 1
