"""Where a peer's packages live: among ours, or in a virtual environment of its own where they would conflict."""

import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pconv.cache import Cache
from pconv.errors import PconvError

NONE_APART = ""


@dataclass(frozen=True)
class Environment:
    """The packages of a peer, the one that names its version first.

    They are as pip takes them. `apart` names the virtual environment where they live apart, and `python` its version
    where they do not install on every one.
    """

    packages: tuple[str, ...]
    apart: str = NONE_APART
    python: str = ""

    @property
    def folder(self) -> Path:
        """Say where the virtual environment stands, or would stand."""
        return Cache().root / "peers" / "environments" / self.apart

    @property
    def interpreter(self) -> Path:
        """Name the Python that has the packages."""
        return self.folder / "bin" / "python" if self.apart else Path(sys.executable)

    @property
    def install(self) -> str:
        """Give the command that installs the packages."""
        if self.apart:
            return f"python -m pconv.bench.peers install {self.apart}"
        return f"pip install {' '.join(self.packages)}"

    def missing(self) -> tuple[str, ...]:
        """Name the packages that are not installed; one apart without its first is not there at all."""
        if self.apart and not self.version():
            return (_name(self.packages[0]),)
        return tuple(_name(package) for package in self.packages if self._find(_name(package)) is None)

    def version(self) -> str:
        """Return the version of the first package; empty where it is not installed."""
        return self._find(_name(self.packages[0])) or ""

    def create(self) -> None:
        """Make the virtual environment and install the packages into it. It downloads them.

        Raises: PconvError when there is no fitting Python, or pip fails.
        """
        if not self.interpreter.exists():
            self._create_empty()
        done = subprocess.run([self.interpreter, "-m", "pip", "install", "--quiet", *self.packages])
        if done.returncode:
            raise PconvError(
                f"{self.apart}: pip failed (see above); nothing else depends on it, leave it out."
            )

    def _create_empty(self) -> None:
        if self.python in ("", ".".join(map(str, sys.version_info[:2]))):
            venv.create(self.folder, with_pip=True)
            return
        command = shutil.which(f"python{self.python}")
        if command is None:
            raise PconvError(
                f"{self.apart}: its packages need Python {self.python}, which is not installed; "
                f"make a python{self.python} reachable in PATH."
            )
        subprocess.run([command, "-m", "venv", self.folder], check=True)

    def _find(self, package: str) -> str | None:
        try:
            if not self.apart:
                return metadata.version(package)
            sites = [str(site) for site in self.folder.glob("lib/python*/site-packages")]
            found = next(iter(metadata.distributions(name=package, path=sites)), None)
        except metadata.PackageNotFoundError:
            return None
        return None if found is None else found.version


def _name(package: str) -> str:
    return re.split("[<=>]", package)[0]
