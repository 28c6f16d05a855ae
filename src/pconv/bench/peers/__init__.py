"""Owns the engines that pconv is compared with: one file each, listed once in PEERS."""

from collections.abc import Mapping, Sequence

from pconv.bench.peers.base import Call, Inputs, Outputs, Peer
from pconv.bench.peers.deepsparse import DeepSparse
from pconv.bench.peers.environment import Environment
from pconv.bench.peers.mnn import Mnn
from pconv.bench.peers.ncnn import Ncnn
from pconv.bench.peers.onnxruntime import OnnxRuntime
from pconv.bench.peers.onnxruntime_int8 import OnnxRuntimeInt8
from pconv.bench.peers.openvino import OpenVino
from pconv.bench.peers.tflite import TfLite
from pconv.bench.peers.torch_compile import TorchCompile
from pconv.bench.peers.tvm import Tvm
from pconv.errors import PconvError

__all__ = ["ALL", "PEERS", "Call", "Inputs", "Outputs", "Peer", "environments", "get", "named", "split"]

ALL = "all"

# The first exact one that takes part gives the answers that all others are compared with.
PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        OnnxRuntime(),
        OpenVino(),
        Ncnn(),
        Mnn(),
        TfLite(),
        TorchCompile(),
        Tvm(),
        DeepSparse(),
        OnnxRuntimeInt8(),
    )
}


def get(name: str) -> Peer:
    """Return the peer of that name.

    Raises: PconvError for an unknown name.
    """
    if name not in PEERS:
        raise PconvError(f"peer {name!r} is unknown; allowed {', '.join(PEERS)}, or {ALL}.")
    return PEERS[name]


def named(text: str) -> list[str]:
    """Read a list of names as a person writes it, `openvino,ncnn` or `all`; they come in the order of PEERS.

    Raises: PconvError for an unknown name.
    """
    if text.strip() == ALL:
        return list(PEERS)
    given = {get(name.strip()).name for name in text.split(",") if name.strip()}
    return [name for name in PEERS if name in given]


def split(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """Sort peers by name into those that run here and, by name, the reason why the others do not.

    Raises: PconvError for an unknown name.
    """
    peers = [get(name) for name in names]
    missing = {peer.name: reason for peer in peers if (reason := peer.available())}
    return [peer for peer in peers if peer.name not in missing], missing


def environments() -> list[Environment]:
    """List the environments of all peers, those of their converters included."""
    return [
        environment
        for peer in PEERS.values()
        for environment in (peer.environment, peer.converter)
        if environment is not None
    ]
