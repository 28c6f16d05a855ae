"""Owns what a person sees: notes and progress on stderr, results on stdout."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pconv import files
from pconv.cli import interrupts

PIPE_COLUMNS = 160
"""A file or a pipe has no width; wide enough for the names of layers."""


_PLAIN: Any = {"highlight": False, "markup": False, "emoji": False}
"""Names of layers and files are printed as they are: [x] and :x: are no markup."""


def stdout() -> Console:
    """Return the console for results; made anew, so that it follows a redirected stdout."""
    console = Console(**_PLAIN)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    return console


def stderr() -> Console:
    """Return the console for notes."""
    return Console(stderr=True, **_PLAIN)


def complain(text: str) -> None:
    """Print an error as one plain line."""
    print(f"pconv: error: {text}", file=sys.stderr)


def note(text: str) -> None:
    """Tell the user something on the way."""
    stderr().print(text, style="dim", soft_wrap=True)


def note_waiting() -> None:
    """Tell the user that somebody else times something: the machine's benchmarks take turns."""
    note("another benchmark is running on this machine; waiting for its end")


def note_busy() -> None:
    """Warn the user where other work would disturb a timing."""
    from pconv.bench import machine

    if (warning := machine.busy()) is not None:
        note(warning)


def print_json(value: Any) -> None:
    """Print a result for programs: a number that is none, or infinite, is null, as JSON has no word for it."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(*columns: str, title: str | None = None) -> Table:
    """Begin a results table: the first column names, the others are numbers."""
    made = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False
    )
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
    return made


class Tracker:
    """Tell one running task what happens; silent when it has no progress display."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress, self._task = progress, task

    def __call__(self, text: str, share: float | None = None) -> None:
        """Say what runs now, and how much of it is done (0..1; None = nobody knows).

        Raises: KeyboardInterrupt where Ctrl-C was swallowed before.
        """
        interrupts.stop_if_seen()
        if self._progress is None or self._task is None:
            return
        total = None if share is None else 1.0
        self._progress.update(self._task, description=text, completed=share or 0.0, total=total)

    def steps(self, what: str, done: int, total: int) -> None:
        """Hear of countable work, as the build tells it."""
        self(what, done / max(total, 1))


@contextmanager
def progress(text: str, quiet: bool = False) -> Iterator[Tracker]:
    """Show a spinner, a bar and the elapsed time on stderr until the block ends."""
    console = stderr()
    if quiet or not console.is_terminal:
        yield Tracker(None, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(28),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        yield Tracker(shown, shown.add_task(text, total=None))


def check_writable(
    path: Path, option: str = "-o", model: str = "", sources: Mapping[str, object] = MappingProxyType({})
) -> None:
    """Check that what an option names can be written, before any work is done for it.

    Raises: BuildError when it cannot, or it is the file of the model or of one of the `sources`, which would be lost.
    """
    advice = f"Choose another place with {option}."
    for what, source in {"model": model, **sources}.items():
        files.check_apart(path, source, advice, f"the {what}")
    files.check_writable(path, advice)


def write(path: Path, data: bytes | str, option: str = "-o") -> None:
    """Write what an option names, whole or not at all.

    Raises: BuildError when it cannot be written.
    """
    data = data.encode("utf-8") if isinstance(data, str) else data
    files.write_atomically(path, data, f"Choose another place with {option}.")


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}" + "s" * (number != 1)


def rate(value: float | None) -> str:
    """Write a compression rate."""
    return "-" if value is None else f"{value:.2f}x"
