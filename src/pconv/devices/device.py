"""What every kind of device can do, and the one way to run a command on this side."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from pconv.errors import DeviceError

QUICK_S = 30.0
"""How long a device may take to answer a question."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """Return the last line that says something, standard error first."""
        lines = [line.strip() for line in (*self.out.splitlines(), *self.err.splitlines()) if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Found:
    """A device as a list shows it: its name, whether it is ready, and what it says of itself."""

    name: str
    state: str
    detail: str


class Device(Protocol):
    """A machine that runs what is pushed to it, in a folder of its own that `close` removes.

    Files are named without folders. `platform` is a target's name, such as android-arm64.
    Raises (every method): DeviceError, with the device's name in front.
    """

    @property
    def name(self) -> str: ...

    @property
    def platform(self) -> str: ...

    def push(self, source: Path, file: str) -> None:
        """Copy a file there; it may be executed."""

    def run(self, file: str, *arguments: str, timeout_s: float = 600.0) -> Finished:
        """Execute a pushed file in its folder."""

    def pull(self, file: str, to: Path) -> None:
        """Copy a file from there."""

    def close(self) -> None:
        """Remove all that was pushed or written there."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def command_of(variable: str, usual: str) -> list[str]:
    """Split the command that a variable of the environment names, as a shell would; the usual one where it names none.

    Raises: DeviceError when a quote is open.
    """
    line = os.environ.get(variable, "").strip() or usual
    try:
        return shlex.split(line)
    except ValueError as error:
        raise DeviceError(
            f"{variable}: {line} is no command ({error}). Close it, or unset {variable} to use {usual}."
        ) from error


def call(
    name: str,
    command: Sequence[str | Path],
    timeout_s: float = QUICK_S,
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> Finished:
    """Run a command here on behalf of the device `name`.

    Raises: DeviceError when it cannot run, or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
        )
    except OSError as error:
        raise DeviceError(f"{name}: {command[0]} does not run ({error.strerror}). Install it.") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{name}: no answer within {timeout_s:g} s; allowed is a device that is awake. Reconnect it."
        ) from error
    out = b"" if done.stdout is None else done.stdout
    return Finished(done.returncode, out.decode(errors="replace"), done.stderr.decode(errors="replace"))


def failed(name: str, what: str, done: Finished) -> DeviceError:
    """Return the error for something that a device could not do."""
    said = f"{done.out}\n{done.err}"
    if "No space left on device" in said:
        return DeviceError(f"{name}: {what} failed: no space is left there. Free some and try again.")
    if any(sign in said for sign in ("Exec format error", "cannot execute binary", "not executable: ")):
        return DeviceError(
            f"{name}: {what} failed: the file is for another CPU ({done.why}). Compile for this device."
        )
    return DeviceError(f"{name}: {what} failed: {done.why}.")
