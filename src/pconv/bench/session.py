"""Owns one benchmark run as a document: machine, settings, results; what every results file holds."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pconv.bench import machine, peak
from pconv.bench.compare import Event, Network, compare
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
) -> Document:
    """Compile ONNX files, given with their compression rates, and compare; the first one runs in the peers.

    Returns: {"machine", "settings", "results"}, ready for JSON.
    Raises: PconvError when a file does not compile, or an answer is wrong.
    """
    from pconv.compiler import compile

    def progress(what: str, done: int, total: int) -> None:
        on_event(what, done / max(total, 1))

    networks = [Network(path, compile(path, progress=progress), rate) for path, rate in files]
    results = compare(model, networks, peers, threads, seconds, on_event=on_event, on_wait=on_wait)
    on_event("measuring the FMA peak", None)
    return {
        "machine": machine.record(
            ("numpy", *(peer.name for peer in peers)),
            compiler=machine.compiler(),
            fma_peak_gflops=peak.measure_if_possible(),
        ),
        "settings": {"seconds": seconds, **(settings or {})},
        "results": [result.as_json() for result in results],
    }
