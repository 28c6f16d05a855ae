"""Owns one benchmark run as a document: machine, settings, results; what every results file holds."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pconv.bench import machine, peak
from pconv.bench.compare import Event, Network, Skip, compare
from pconv.bench.peers import Peer

Document = dict[str, Any]


def run(
    model: str,
    files: Sequence[tuple[Path, float]],
    peers: Sequence[Peer] = (),
    threads: Sequence[int] = (1,),
    seconds: float = 10.0,
    *,
    settings: Mapping[str, Any] | None = None,
    on_event: Event = lambda text, share: None,
    on_wait: Callable[[], object] | None = None,
    on_skip: Skip = lambda peer, reason: None,
) -> Document:
    """Compile ONNX files, given with their compression rates, and compare; the first one runs in the peers.

    Returns: {"machine", "settings", "peers", "skipped", "results"}, ready for JSON.
    Raises: PconvError when a file does not compile, or an answer is wrong.
    """
    from pconv.compiler import compile

    def progress(what: str, done: int, total: int) -> None:
        on_event(what, done / max(total, 1))

    group = int((settings or {}).get("group", 1))
    networks = [
        Network(path, compile(path, progress=progress), rate, group if i else 0)
        for i, (path, rate) in enumerate(files)
    ]
    skipped: dict[str, str] = {}

    def skip(peer: str, reason: str) -> None:
        if peer not in skipped:
            on_skip(peer, reason)
        skipped.setdefault(peer, reason)

    results = compare(
        model, networks, peers, threads, seconds, on_event=on_event, on_wait=on_wait, on_skip=skip
    )
    on_event("measuring the FMA peak", None)
    return {
        "machine": describe_machine(peers),
        "settings": {"seconds": seconds, **(settings or {})},
        "peers": describe_peers(peers),
        "skipped": skipped,
        "results": [result.as_json() for result in results],
    }


def describe_machine(peers: Sequence[Peer]) -> dict[str, Any]:
    """Record the machine, the versions of the peers included, and its FMA peak where it can be measured."""
    described = machine.record(compiler=machine.compiler(), fma_peak_gflops=peak.measure_if_possible())
    described["versions"] |= {peer.name: peer.version() for peer in peers}
    return described


def describe_peers(peers: Sequence[Peer]) -> dict[str, dict[str, Any]]:
    """Say what each peer was allowed, and why."""
    return {
        peer.name: {
            "title": peer.title,
            "version": peer.version(),
            "dtype": peer.dtype,
            "max_rel_err": peer.max_rel_err,
            "why_off": peer.why_off,
        }
        for peer in peers
    }
