"""What adb and ssh have in common: a POSIX shell over there, and a folder in it."""

import secrets
import shlex
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from pconv.devices.device import QUICK_S, Finished, failed


class ShellDevice(ABC):
    """A device whose kind says how a line of shell, a push and a pull get there."""

    name: str
    platform: str

    def __init__(self, name: str, parent: str) -> None:
        self.name = name
        self._folder = f"{parent}/pconv-{secrets.token_hex(6)}"
        self._ready = False

    @abstractmethod
    def shell(self, line: str, timeout_s: float = QUICK_S) -> Finished:
        """Run one line of shell there."""

    @abstractmethod
    def send(self, source: Path, place: str) -> Finished:
        """Copy a file to a path there."""

    @abstractmethod
    def fetch(self, place: str, to: Path) -> Finished:
        """Copy the file at a path there to a path here."""

    def push(self, source: Path, file: str) -> None:
        """Copy a file there; it may be executed."""
        if not self._ready:
            self._need("mkdir", self.shell(f"mkdir -m 700 {shlex.quote(self._folder)}"))
            self._ready = True
        place = self._place(file)
        self._need(f"push of {file}", self.send(source, place))
        self._need(f"push of {file}", self.shell(f"chmod 755 {shlex.quote(place)}"))

    def run(self, file: str, *arguments: str, timeout_s: float = 600.0) -> Finished:
        """Execute a pushed file in its folder."""
        line = shlex.join([f"./{file}", *arguments])
        done = self.shell(f"cd {shlex.quote(self._folder)} && {line}", timeout_s)
        if done.code in (126, 127):  # the shell's codes: found but not executable, not found
            raise failed(self.name, f"run of {file}", done)
        return done

    def pull(self, file: str, to: Path) -> None:
        """Copy a file from there."""
        done = self.fetch(self._place(file), to)
        if done.code:
            to.unlink(missing_ok=True)
        self._need(f"pull of {file}", done)

    def close(self) -> None:
        """Remove the folder there."""
        if self._ready:
            self.shell(f"rm -rf {shlex.quote(self._folder)}")
            self._ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, file: str) -> str:
        return f"{self._folder}/{file}"

    def _need(self, what: str, done: Finished) -> None:
        if done.code:
            raise failed(self.name, what, done)
