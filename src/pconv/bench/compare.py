"""Owns one comparison: the same network in our engine, dense and pruned, and in the peers.

Before anything is timed, every answer is compared with a reference on the same weights: an fp32 peer without
short cuts, or onnx's own evaluator where there is none. A wrong answer is not timed: ours is an error, a
peer's is a reason to leave it out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pconv.bench import timing
from pconv.bench.peers import PEERS, Call, Inputs, Peer
from pconv.bench.peers.base import FP32_MAX_REL_ERR
from pconv.bench.peers.running import Here, Running, start
from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.runtime import Engine

MAX_REL_ERR = FP32_MAX_REL_ERR
OURS = "pconv"
SEED = 0

Event = Callable[[str, float | None], object]
Skip = Callable[[str, str], object]


@dataclass(frozen=True)
class Network:
    """One set of weights: its ONNX file, our engine for it, and how it was pruned.

    `compression` is 1.0 where it is dense; `group` is 0 there and where nobody said.
    """

    path: Path
    engine: "Engine"
    compression: float
    group: int = 0


@dataclass(frozen=True)
class Result:
    """What one engine reached. `max_rel_err` is None where the engine is itself the reference."""

    model: str
    engine: str
    dtype: str
    threads: int
    compression: float
    group: int
    median_ms: float
    min_ms: float
    samples_ms: tuple[float, ...]
    max_rel_err: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the record as it stands in a results file."""
        return asdict(self) | {"samples_ms": [round(sample, 4) for sample in self.samples_ms]}


@dataclass(frozen=True)
class _Contender:
    engine: str
    dtype: str
    network: Network
    running: Running
    max_rel_err: float | None


def compare(
    model: str,
    networks: Sequence[Network],
    peers: Sequence[Peer],
    threads: Sequence[int] = (1,),
    seconds: float = 10.0,
    *,
    distance: Callable[[], float] | None = None,
    on_event: Event = lambda text, share: None,
    on_wait: Callable[[], object] | None = None,
    on_skip: Skip = lambda peer, reason: None,
) -> list[Result]:
    """Time our engine on every network, and the peers on the first (the dense) one, per thread count.

    Peers that make use of zeros run every network. With a `distance`, turns of several threads count where the cores
    are near: see `timing.interleave`. `on_skip` hears of a peer that cannot run one, or runs it wrong.

    Raises: PconvError when an answer of ours is off by more than MAX_REL_ERR, or the reference does not run.
    """
    inputs = random_inputs({info.name: info.shape for info in networks[0].engine.inputs})
    references = []
    for network in networks:
        on_event(f"reference outputs of {model} at {network.compression:g}x", None)
        references.append(reference_outputs(network.path, inputs, peers))
    results, given_up = [], set[tuple[str, Path]]()
    for count in threads:
        with ExitStack() as stack:
            contenders = []
            for contender in _contenders(
                model, networks, references, peers, count, inputs, given_up, on_event, on_skip
            ):
                stack.callback(contender.running.close)
                contenders.append(contender)
            with timing.alone(on_wait):
                samples = timing.interleave(
                    {str(i): contender.running for i, contender in enumerate(contenders)},
                    seconds,
                    settle_s=timing.SETTLE_S if count > 1 else 0.0,
                    distance=distance if count > 1 else None,
                    on_round=lambda share, count=count: on_event(f"timing {model}, threads {count}", share),  # type: ignore[misc]
                )
        results += [
            _result(model, contender, count, taken)
            for contender, taken in zip(contenders, samples.values(), strict=True)
        ]
    return results


def engine_call(engine: "Engine") -> Call:
    """Make an engine a call from named inputs to the list of outputs, as a peer is."""
    names = [info.name for info in engine.inputs]

    def call(inputs: Inputs) -> list[NDArray[Any]]:
        outputs = engine(*(inputs[name] for name in names))
        return list(outputs) if isinstance(outputs, tuple) else [outputs]

    return call


def random_inputs(shapes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[np.float32]]:
    """Draw one standard normal sample for every input."""
    draw = np.random.default_rng(SEED)
    return {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def reference(peers: Sequence[Peer]) -> Peer | None:
    """Choose the peer whose answers count: the first exact one of these, or of all that are installed."""
    for peer in (*peers, *PEERS.values()):
        if peer.max_rel_err <= MAX_REL_ERR and peer.available() is None:
            return peer
    return None


def reference_outputs(path: Path, inputs: Inputs, peers: Sequence[Peer]) -> list[NDArray[Any]]:
    """Run a file in the reference, or in onnx's own (slow) evaluator when there is none.

    Raises: PconvError when the reference cannot run it.
    """
    if (peer := reference(peers)) is not None:
        running = start(peer, path, 1, inputs)
        try:
            return running.answer()
        finally:
            running.close()
    import onnx
    from onnx.reference import ReferenceEvaluator

    outputs = ReferenceEvaluator(onnx.load(path)).run(None, dict(inputs))
    return [np.asarray(output) for output in outputs]


def max_rel_err(outputs: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """Return the largest absolute difference over the largest absolute expected value.

    Of integers, the share that differ: engines that add up in another order choose another of two classes that are as
    likely.

    Shapes: outputs pairwise equal, else the error is infinite, as it is with NaN.
    """
    if [output.shape for output in outputs] != [value.shape for value in expected]:
        return float("inf")
    worst = 0.0
    for output, value in zip(outputs, expected, strict=True):
        if value.dtype.kind in "biu":
            worst = max(worst, np.count_nonzero(output != value) / max(value.size, 1))
            continue
        error = np.abs(output.astype(np.float64) - value).max(initial=0.0)
        error /= max(np.abs(value).max(initial=0.0), np.finfo(np.float32).tiny)
        worst = max(worst, float(error) if np.isfinite(error) else float("inf"))
    return worst


def checked(
    what: str,
    outputs: Sequence[NDArray[Any]],
    expected: Sequence[NDArray[Any]],
    allowed: float = MAX_REL_ERR,
) -> float:
    """Return the error of an answer.

    Raises: PconvError when it is larger than `allowed`.
    """
    error = max_rel_err(outputs, expected)
    if error > allowed:
        raise PconvError(
            f"{what}: the answer differs from the reference by {error:.1e} of its largest value; "
            f"allowed {allowed:.0e}. Nothing was timed."
        )
    return error


def _contenders(
    model: str,
    networks: Sequence[Network],
    references: Sequence[list[NDArray[Any]]],
    peers: Sequence[Peer],
    threads: int,
    inputs: Inputs,
    given_up: set[tuple[str, Path]],
    on_event: Event,
    on_skip: Skip,
) -> Iterator[_Contender]:
    """Make ready, one after the other, whoever takes part and gives the right answer.

    `given_up` are the peers and the files that they failed to convert, and are not asked to again.
    """
    exact = reference(peers)
    for network, expected in zip(networks, references, strict=True):
        for peer in peers:
            if network is not networks[0] and not peer.prunable:
                continue
            converts, both = peer.must_convert(network.path), (peer.name, network.path)
            if both in given_up:
                continue
            verb = "converts (once, maybe for minutes)" if converts else "reads"
            on_event(f"{peer.title} {verb} {model} at {network.compression:g}x", None)
            try:
                yield _peer(peer, network, threads, inputs, expected, peer is exact)
            except PconvError as error:
                if peer is exact:
                    raise
                if converts and peer.must_convert(network.path):
                    given_up.add(both)
                on_skip(peer.name, str(error))
    for network, expected in zip(networks, references, strict=True):
        on_event(f"checking {model} at {network.compression:g}x in {OURS}", None)
        network.engine.threads = threads
        running = Here(engine_call(network.engine), inputs)
        found = checked(f"{model} at {network.compression:g}x in {OURS}", running.answer(), expected)
        yield _Contender(OURS, "float32", network, running, found)


def _peer(
    peer: Peer, network: Network, threads: int, inputs: Inputs, expected: list[NDArray[Any]], exact: bool
) -> _Contender:
    running = start(peer, network.path, threads, inputs)
    try:
        error = checked(peer.name, running.answer(), expected, peer.max_rel_err)
    except BaseException:
        running.close()
        raise
    return _Contender(peer.name, peer.dtype, network, running, None if exact else error)


def _result(model: str, contender: _Contender, threads: int, samples: Sequence[float]) -> Result:
    return Result(
        model=model,
        engine=contender.engine,
        dtype=contender.dtype,
        threads=threads,
        compression=contender.network.compression,
        group=contender.network.group,
        median_ms=median(samples),
        min_ms=min(samples),
        samples_ms=tuple(samples),
        max_rel_err=contender.max_rel_err,
    )
