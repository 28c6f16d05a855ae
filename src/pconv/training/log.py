"""What a run says while it goes: JSON lines in a file, TensorBoard where asked for, and events for a display."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pconv.errors import PconvError
from pconv.files import unwritable
from pconv.training.checkpoint import ADVICE

FILE = "log.jsonl"


@dataclass(frozen=True)
class Event:
    """Say where a run is: a text for people, the share that is done, and whether it is worth keeping."""

    text: str
    share: float | None = None
    milestone: bool = False


OnEvent = Callable[[Event], object]


class Log:
    """Append to a run's log; a silent one has no folder."""

    def __init__(self, folder: Path | None, tensorboard: bool) -> None:
        if tensorboard:
            _require_tensorboard()
        self._path = None if folder is None else folder / FILE
        self._boards = folder / "tensorboard" if tensorboard and folder is not None else None
        self._board: Any = None  # made by the first line
        self._done = 0

    def bytes(self) -> int:
        """Return the file's length, which a checkpoint remembers."""
        return self._path.stat().st_size if self._path is not None and self._path.exists() else 0

    def rewind(self, length: int, step: int) -> None:
        """Forget what was written after a checkpoint at `step`: the steps behind it are about to be done again."""
        self._done = step
        if self._path is not None and self.bytes() > length:
            with self._path.open("r+b") as file:
                file.truncate(length)

    def write(self, step: int, **values: Any) -> None:
        """Append one line.

        Raises: BuildError when the file cannot be written.
        """
        if self._path is not None:
            _append(self._path, json.dumps({"step": step, **values}) + "\n")
        if self._boards is not None:
            self._board = self._board or _writer(self._boards, self._done + 1)
            for name, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, step)
            self._board.flush()

    def close(self) -> None:
        """End the log."""
        if self._board is not None:
            self._board.close()


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise unwritable(path, error, ADVICE) from error


def _require_tensorboard() -> None:
    if find_spec("tensorboard") is None:
        raise PconvError("--tensorboard: the package is not installed; pip install tensorboard.")


def _writer(folder: Path, first_step: int) -> Any:
    """Go on in a folder: what earlier sessions wrote from `first_step` on is shown no more."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)
