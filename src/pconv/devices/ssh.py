"""Boards and servers over ssh, as the user's own configuration reaches them. PCONV_SSH names another command."""

import re
import shlex
from pathlib import Path
from typing import Self

from pconv.devices.device import QUICK_S, Finished, Found, call, command_of, failed
from pconv.devices.shell import ShellDevice
from pconv.errors import DeviceError

PUSH_S = 600.0
FAILED = 255  # ssh's own exit code; others are the command's

# BatchMode: never ask for a password, which nobody would see.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_PLATFORMS = {
    "Linux x86_64": "linux-x86_64",
    "Linux aarch64": "linux-aarch64",
    "Darwin arm64": "macos-arm64",
    "Darwin x86_64": "macos-x86_64",
}


class Ssh(ShellDevice):
    """One host, by the name that `ssh` takes."""

    @classmethod
    def connect(cls, host: str) -> Self:
        """Log in and ask what machine it is.

        Raises: DeviceError when it does not answer, does not let us in, or is another kind of machine.
        """
        if host.startswith("-"):
            raise DeviceError(f"ssh:{host}: not the name of a host.")
        device = cls(f"ssh:{host}", "/tmp")
        said = device.shell("uname -sm")
        kind = " ".join(said.out.split())
        if kind not in _PLATFORMS:
            raise DeviceError(f"ssh:{host}: it is {kind or 'unknown'}; allowed {', '.join(_PLATFORMS)}.")
        device.platform = _PLATFORMS[kind]
        return device

    def shell(self, line: str, timeout_s: float = QUICK_S) -> Finished:
        """Run one line of shell there."""
        return self._checked(call(self.name, self._command(line), timeout_s))

    def send(self, source: Path, place: str) -> Finished:
        """Copy a file to a path there."""
        with source.open("rb") as file:
            return self._checked(
                call(self.name, self._command(f"cat > {shlex.quote(place)}"), PUSH_S, stdin=file)
            )

    def fetch(self, place: str, to: Path) -> Finished:
        """Copy the file at a path there to a path here."""
        with to.open("wb") as file:
            return self._checked(
                call(self.name, self._command(f"cat {shlex.quote(place)}"), PUSH_S, stdout=file)
            )

    def _command(self, line: str) -> list[str]:
        return [*_ssh(), *_OPTIONS, self.name.partition(":")[2], "--", line]

    def _checked(self, done: Finished) -> Finished:
        if done.code != FAILED:
            return done
        if "Permission denied" in done.err:
            raise DeviceError(f"{self.name}: it does not let us in. Install your key there (ssh-copy-id).")
        if "Host key verification failed" in done.err:
            raise DeviceError(f"{self.name}: its host key is unknown. Log in once with ssh and accept it.")
        raise failed(self.name, "connection", done)


def list_hosts() -> list[Found]:
    """List the hosts of the ssh configuration that have a name of their own."""
    command = _ssh()
    named = command[command.index("-F") + 1] if "-F" in command[:-1] else None
    try:
        path = Path(named) if named else Path.home() / ".ssh" / "config"
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except (OSError, RuntimeError):
        return []
    hosts = [host for line in lines for host in _hosts(line)]
    return [
        Found(f"ssh:{h}", "configured", "") for h in hosts if not set(h) & set("*?!\N{REPLACEMENT CHARACTER}")
    ]


def _hosts(line: str) -> list[str]:
    """Read the names of a line `Host a "b c"  # comment` or `Host=a`; none of any other, or where a quote is open."""
    found = re.match(r"\s*host(?:\s*=\s*|\s+)(.*)", line, re.IGNORECASE)
    try:
        return shlex.split(found[1], comments=True) if found else []
    except ValueError:
        return []


def _ssh() -> list[str]:
    return command_of("PCONV_SSH", "ssh")
