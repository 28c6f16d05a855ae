"""One file that holds a run at one moment, replaced whole: a kill at any time leaves the last good one.

No random states: every step seeds its own chance from seed, step and rank.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pconv.errors import PconvError
from pconv.files import write_atomically
from pconv.training.settings import Settings

FILE = "checkpoint.pt"
BEST = "best-epoch{}.pt"
ADVICE = "Free some space, then go on with --resume."
KEYS = frozenset(
    (
        "about",
        "step",
        "loss_sum",
        "seconds",
        "module",
        "optimiser",
        "scaler",
        "average",
        "pruner",
        "best",
        "log_bytes",
    )
)
BEST_KEYS = frozenset(("epoch", "held_out", "state"))


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all.

    Raises: BuildError when the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    buffer.seek(0)
    write_atomically(path, buffer, ADVICE)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote.

    Raises: PconvError when the file is damaged.
    """
    with understanding(path):
        _require_whole(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


@contextmanager
def understanding(path: Path) -> Iterator[None]:
    """Take whatever fails in the block for damage of the file: it can fail in any way.

    Raises: PconvError that says what to delete.
    """
    try:
        yield
    except (PconvError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise PconvError(_unreadable(path)) from error


def describe(settings: Settings, about: Mapping[str, Any]) -> str:
    """Say in one text what a run may only be resumed with."""
    return json.dumps({**settings.defining(), **about}, sort_keys=True)


def find(folder: Path, about: str) -> dict[str, Any] | None:
    """Read a folder's checkpoint; None where there is none.

    Raises: PconvError when it is damaged, or of a run with other settings.
    """
    path = folder / FILE
    if not path.exists():
        return None
    state = load(path)
    with understanding(path):
        _require_keys(path, state, KEYS)
        _require_same(path, state["about"], about)
    return state


def load_best(folder: Path, epoch: int) -> dict[str, Any]:
    """Read the best network, which a checkpoint says is that of `epoch`.

    Raises: PconvError when it is gone or damaged.
    """
    path = best_path(folder, epoch)
    state = load(path)
    _require_keys(path, state, BEST_KEYS)
    return state


def best_path(folder: Path, epoch: int) -> Path:
    """Name the file of the best network: by its epoch, so that a checkpoint never meets a later one."""
    return folder / BEST.format(epoch)


def clear(folder: Path, best: int | None) -> None:
    """Delete what a new checkpoint no longer needs: other best networks, and drafts of a run that was killed."""
    keep = None if best is None else best_path(folder, best)
    for path in (*folder.glob(BEST.format("*")), *folder.glob(".*.part")):
        if path != keep:
            path.unlink(missing_ok=True)


def _require_whole(path: Path) -> None:
    """Compare the file with its checksums: torch does not, and would load other weights."""
    with zipfile.ZipFile(path) as file:
        if file.testzip() is not None:
            raise PconvError(_unreadable(path))


def _require_keys(path: Path, state: object, keys: frozenset[str]) -> None:
    if not isinstance(state, dict) or state.keys() != keys:
        raise PconvError(_unreadable(path))


def _unreadable(path: Path) -> str:
    return f"{path}: cannot be read as a checkpoint; delete {path.with_name(FILE)} to begin again."


def _require_same(path: Path, saved: str, now: str) -> None:
    """Refuse to go on with other settings than the run began with.

    Raises: PconvError naming what differs.
    """
    before, after = json.loads(saved), json.loads(now)
    differ = [
        f"{key} was {before.get(key)!r}, is {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if differ:
        raise PconvError(
            f"{path}: belongs to a run with other settings ({'; '.join(differ)}). "
            "Resume with those it began with, or choose another folder with -o."
        )
