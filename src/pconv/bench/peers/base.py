"""What a peer is: its packages, how it reads a model, and how far its answers may be off.

A peer that converts models keeps what it made beside the compiled libraries, by the hash of the model, the
peer's version and its own file here, so that only the first run waits for it.
"""

import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache as memoize
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from pconv.bench.peers.environment import Environment
from pconv.cache import Cache
from pconv.errors import PconvError

Inputs = Mapping[str, NDArray[Any]]
Outputs = list[NDArray[Any]]
Call = Callable[[Inputs], Outputs]

FP32_MAX_REL_ERR = 1e-4


class Peer(ABC):
    """An engine that runs an ONNX file, set up the way that is best for it.

    `max_rel_err` is how far it may be off, of the largest value, and `why_off` the reason where that is more than
    fp32 sums in another order make. `prunable`: it makes use of zeros, so it runs the pruned networks as well.
    `isolated`: it runs in a process of its own, where its threads and libraries meet nobody else's.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    environment: ClassVar[Environment]
    converter: ClassVar[Environment | None] = None
    max_rel_err: ClassVar[float] = FP32_MAX_REL_ERR
    why_off: ClassVar[str] = ""
    dtype: ClassVar[str] = "float32"
    prunable: ClassVar[bool] = False
    isolated: ClassVar[bool] = True

    def available(self) -> str | None:
        """Say why it cannot run here and what installs it, or None when it can."""
        for environment in self._environments():
            if missing := environment.missing():
                have = "is not installed" if len(missing) == 1 else "are not installed"
                return f"{self.name}: {', '.join(missing)} {have}; {environment.install}"
        return None

    def version(self) -> str:
        """Return its version."""
        return self.environment.version()

    @abstractmethod
    def load(self, path: Path, threads: int) -> Call:
        """Read an ONNX file; return a call from named inputs to the outputs in the model's order.

        Raises: PconvError when the peer cannot run the model.
        """

    def must_convert(self, path: Path) -> bool:
        """Say whether it has yet to make something else of this model, which takes its time."""
        return False

    def keep(self, folder: Path, make: Callable[[Path], object]) -> Path:
        """Return a folder of the cache; `make` fills it where there is none, whole or not at all."""
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as work:
                draft = Path(work) / "made"
                draft.mkdir()
                make(draft)
                if not folder.is_dir():
                    draft.rename(folder)
        return folder

    def folder(self, path: Path, *key: object) -> Path:
        """Name the place in the cache of what is made of a model."""
        versions = [environment.version() for environment in self._environments()]
        own = Path(sys.modules[type(self).__module__].__file__ or "").read_bytes()
        digest = hashlib.sha256(repr((_hash(path, path.stat().st_mtime_ns), versions, key)).encode() + own)
        return Cache().root / "peers" / "models" / f"{self.name}-{digest.hexdigest()[:32]}"

    def _environments(self) -> tuple[Environment, ...]:
        return (self.environment,) if self.converter is None else (self.environment, self.converter)


class ConvertingPeer(Peer):
    """A peer that reads something else than ONNX."""

    @abstractmethod
    def convert(self, path: Path, folder: Path) -> None:
        """Write what the peer reads into an empty folder.

        Raises: PconvError when the conversion fails.
        """

    def must_convert(self, path: Path) -> bool:
        return not self.folder(path).is_dir()

    def converted(self, path: Path) -> Path:
        """Return the folder with what `convert` makes of a model: from the cache, or made now.

        Raises: PconvError when the conversion fails.
        """
        return self.keep(self.folder(path), lambda draft: self.convert(path, draft))


def keeping_last(convert: Callable[[Inputs], Any], run: Callable[[Any], Outputs]) -> Call:
    """Make `run` a call whose inputs are converted once, and again only for others: that is no part of the engine."""
    last: list[Any] = [None, None]

    def call(inputs: Inputs) -> Outputs:
        if last[0] is not inputs:
            last[:] = inputs, convert(inputs)
        return run(last[1])

    return call


def run_converter(command: Sequence[str | Path], folder: Path, *made: str) -> None:
    """Run a conversion in `folder`, and delete all that it leaves there but the files `made`.

    Raises: PconvError when it fails or makes no such files, with the signal that ended it or the last line it said.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode or not all((folder / name).is_file() for name in made):
        raise PconvError(f"the conversion failed: {_said(done)}")
    keep_only(folder, *made)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Name what ended a converter."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"{name} ended it" + (", as where memory runs out" if name == "SIGKILL" else "")
    return (done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1][:200]


def put_copy(path: Path, folder: Path) -> str:
    """Copy a model for a converter: some write over what they read. Returns: the copy's name."""
    shutil.copyfile(path, folder / "model.onnx")
    return "model.onnx"


def keep_only(folder: Path, *names: str) -> None:
    """Delete everything else that a converter left in a folder."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@memoize
def _hash(path: Path, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
