"""A peer that is ready to run: here, or in a worker, a process with the peer's own Python.

    we                                     the worker
    {"do": "answer", "to": "FILE.npz"} --> calls once, writes the outputs
    {"do": "turn", "seconds": 0.02}    --> calls, and takes the time of each call itself
                                       <-- {"samples_ms": [...]}, or {"error": "..."}

Who runs when is decided here; how long a call took is measured where it runs, so the pipe costs nothing.
"""

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

import pconv
from pconv.bench import timing
from pconv.bench.peers.base import Call, ConvertingPeer, Inputs, Outputs, Peer
from pconv.errors import PconvError

# A worker's Python need not have pconv installed, and must not see our other packages.
_BEGIN = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
root = sys.argv[1]
spec = spec_from_file_location("pconv", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["pconv"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["pconv"])
from pconv.bench.peers.{module} import main
main(sys.argv[2:])
"""


class Running(Protocol):
    """A network in an engine, with its inputs."""

    def __call__(self) -> object:
        """Run once."""

    def turn(self, seconds: float) -> list[float]:
        """Run for so long, at least once. Units: milliseconds per call."""

    def answer(self) -> Outputs:
        """Run once and return the outputs."""

    def close(self) -> None:
        """Free what it holds."""


class Here:
    """A call in this process."""

    def __init__(self, call: Call, inputs: Inputs, close: Callable[[], object] = lambda: None) -> None:
        self._call, self._inputs, self._close = call, inputs, close

    def __call__(self) -> object:
        return self._call(self._inputs)

    def turn(self, seconds: float) -> list[float]:
        return timing.turn(self, seconds)

    def answer(self) -> Outputs:
        return self._call(self._inputs)

    def close(self) -> None:
        self._close()


class Worker:
    """A peer in a process of its own.

    Raises: PconvError when the peer cannot run the model, or its process ends.
    """

    def __init__(self, peer: Peer, path: Path, threads: int, inputs: Inputs) -> None:
        self._name = peer.name
        self._folder = TemporaryDirectory(prefix="pconv-worker-")
        folder = Path(self._folder.name)
        np.savez(folder / "inputs.npz", **dict[str, Any](inputs))
        self._said = (folder / "said.txt").open("w+", errors="replace")
        command = python(
            peer.environment.interpreter, "worker", peer.name, path, threads, folder / "inputs.npz"
        )
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )
        try:
            self._reply()
        except BaseException:
            self.close()
            raise

    def __call__(self) -> object:
        return self.turn(0.0)

    def turn(self, seconds: float) -> list[float]:
        samples: list[float] = self._ask(do="turn", seconds=seconds)["samples_ms"]
        return samples

    def answer(self) -> Outputs:
        path = Path(self._folder.name) / "outputs.npz"
        self._ask(do="answer", to=str(path))
        with np.load(path) as outputs:
            return [outputs[name] for name in outputs.files]

    def close(self) -> None:
        """End the process: it stops by itself when nothing can be asked any more."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(
                    BrokenPipeError
                ):  # a request that never reached a dead process is still buffered
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing reply says it
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = (self._said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise PconvError(
                f"{self._name}: its process ended with code {self._process.wait()}: {last[:200]}"
            )
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PconvError(f"{self._name}: {reply['error']}")
        return reply


def start(peer: Peer, path: Path, threads: int, inputs: Inputs) -> Running:
    """Make a peer ready to run a model on inputs; what it converts is converted here, if it was not before.

    Raises: PconvError when the peer cannot run the model.
    """
    if not peer.isolated:
        return Here(peer.load(path, threads), inputs)
    if isinstance(peer, ConvertingPeer):
        try:
            peer.converted(path)
        except PconvError as error:
            raise PconvError(f"{peer.name}: {error}") from error
        except Exception as error:  # a converter's own error, of any kind
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PconvError(f"{peer.name}: the conversion failed: {said[:200]}") from error
    return Worker(peer, path, threads, inputs)


def python(interpreter: Path, module: str, *arguments: object) -> list[str]:
    """Give the command that runs `main` of a module of this room in another Python."""
    root = Path(pconv.__file__).parent
    return [str(interpreter), "-c", _BEGIN.format(module=module), str(root), *map(str, arguments)]
