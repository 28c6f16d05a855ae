"""Owns the engines that pconv is compared with: one file each, listed once in PEERS."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from pconv.bench.peers.onnxruntime import OnnxRuntime
from pconv.errors import PconvError

Call = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


class Peer(Protocol):
    """An engine that runs an ONNX file, set up the way that is best for it."""

    name: str
    install: str

    def available(self) -> str | None:
        """Say why it cannot run here, or None when it can."""

    def version(self) -> str:
        """Return its version."""

    def load(self, path: Path, threads: int) -> Call:
        """Read an ONNX file; return a call from named inputs to the outputs in the model's order."""


PEERS: Mapping[str, Peer] = {peer.name: peer for peer in (OnnxRuntime(),)}


def get(name: str) -> Peer:
    """Return the peer of that name.

    Raises: PconvError for an unknown name.
    """
    if name not in PEERS:
        raise PconvError(f"peer {name!r} is unknown; allowed {', '.join(PEERS)}. Choose one of those.")
    return PEERS[name]


def split(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """Sort peers by name into those that run here and, by name, the reason why the others do not.

    Raises: PconvError for an unknown name.
    """
    peers = [get(name) for name in names]
    missing = {peer.name: reason for peer in peers if (reason := peer.available())}
    return [peer for peer in peers if peer.name not in missing], missing
