"""This machine as a device: the host's numbers come through the same door as a phone's."""

import platform
import tempfile
from pathlib import Path
from typing import Self

from pconv.devices.device import QUICK_S, Finished, Found, call
from pconv.devices.shell import ShellDevice

NAME = "local"
_SYSTEMS = {"Linux": "linux", "Darwin": "macos"}
_MACHINES = {"linux-arm64": "linux-aarch64", "macos-aarch64": "macos-arm64"}


class Local(ShellDevice):
    """A temporary folder of this machine."""

    @classmethod
    def connect(cls, address: str = "") -> Self:
        """Say what this machine is."""
        device = cls(NAME, tempfile.gettempdir())
        kind = f"{_SYSTEMS.get(platform.system(), platform.system())}-{platform.machine()}"
        device.platform = _MACHINES.get(kind, kind)
        return device

    def shell(self, line: str, timeout_s: float = QUICK_S) -> Finished:
        """Run one line of shell."""
        return call(self.name, ["sh", "-c", line], timeout_s)

    def send(self, source: Path, place: str) -> Finished:
        """Copy a file."""
        return call(self.name, ["cp", source, place])

    def fetch(self, place: str, to: Path) -> Finished:
        """Copy a file back."""
        return call(self.name, ["cp", place, to])


def list_devices() -> list[Found]:
    """Return this machine."""
    return [Found(NAME, "ready", f"this machine: {platform.system()} on {platform.machine()}")]
