"""Owns one comparison: the same network in our engine, dense and pruned, and in the peers.

Before anything is timed, every answer is compared with a reference on the same weights: the first peer, or
onnx's own evaluator where there is no peer. A wrong answer is an error, not a number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pconv.bench import timing
from pconv.bench.peers import Call, Peer
from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.runtime import Engine

MAX_REL_ERR = 1e-4
OURS = "pconv"
SEED = 0

Inputs = Mapping[str, NDArray[Any]]
Event = Callable[[str, float | None], object]


@dataclass(frozen=True)
class Network:
    """One set of weights: its ONNX file, our engine for it, and its compression rate (1.0 = dense)."""

    path: Path
    engine: "Engine"
    compression: float


@dataclass(frozen=True)
class Result:
    """What one engine reached. `max_rel_err` is None where the engine is itself the reference."""

    model: str
    engine: str
    threads: int
    compression: float
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
    compression: float
    call: Callable[[], object]
    max_rel_err: float | None


def compare(
    model: str,
    networks: Sequence[Network],
    peers: Sequence[Peer],
    threads: Sequence[int] = (1,),
    seconds: float = 10.0,
    *,
    on_event: Event = lambda text, share: None,
    on_wait: Callable[[], object] | None = None,
) -> list[Result]:
    """Time our engine on every network, and each peer on the first (the dense) one, per thread count.

    Raises: PconvError when an answer is off by more than MAX_REL_ERR.
    """
    inputs = random_inputs({info.name: info.shape for info in networks[0].engine.inputs})
    references = []
    for network in networks:
        on_event(f"reference outputs of {model} at {network.compression:g}x", None)
        references.append(reference_outputs(network.path, inputs, peers))
    results = []
    for count in threads:
        on_event(f"checking {model} on {count} thread{'s' * (count > 1)}", None)
        contenders = _peers(model, networks[0], peers, count, inputs, references[0])
        contenders += _ours(model, networks, count, inputs, references)
        calls = {str(i): contender.call for i, contender in enumerate(contenders)}
        with timing.alone(on_wait):
            samples = timing.interleave(
                calls,
                seconds,
                settle_s=timing.SETTLE_S if count > 1 else 0.0,
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


def random_inputs(shapes: Mapping[str, Sequence[int]], seed: int = SEED) -> dict[str, NDArray[np.float32]]:
    """Draw one standard normal sample for every input."""
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def reference_outputs(path: Path, inputs: Inputs, peers: Sequence[Peer]) -> list[NDArray[Any]]:
    """Run a file in the first peer, or in onnx's own (slow) evaluator when there is none."""
    if peers:
        return peers[0].load(path, threads=1)(inputs)
    import onnx
    from onnx.reference import ReferenceEvaluator

    outputs = ReferenceEvaluator(onnx.load(path)).run(None, dict(inputs))
    return [np.asarray(output) for output in outputs]


def max_rel_err(outputs: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """Return the largest absolute difference over the largest absolute expected value.

    Shapes: outputs pairwise equal, else the error is infinite, as it is with NaN.
    """
    if [output.shape for output in outputs] != [value.shape for value in expected]:
        return float("inf")
    worst = 0.0
    for output, value in zip(outputs, expected, strict=True):
        error = np.abs(output.astype(np.float64) - value).max(initial=0.0)
        error /= max(np.abs(value).max(initial=0.0), np.finfo(np.float32).tiny)
        worst = max(worst, float(error) if np.isfinite(error) else float("inf"))
    return worst


def checked(what: str, outputs: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """Return the largest relative error of an answer.

    Raises: PconvError when it is above MAX_REL_ERR; `what` says whose answer it is.
    """
    error = max_rel_err(outputs, expected)
    if error > MAX_REL_ERR:
        raise PconvError(
            f"{what}: the answer differs from the reference by {error:.1e} of its largest value; "
            f"allowed {MAX_REL_ERR:.0e}. Nothing was timed."
        )
    return error


def _peers(
    model: str,
    network: Network,
    peers: Sequence[Peer],
    threads: int,
    inputs: Inputs,
    expected: list[NDArray[Any]],
) -> list[_Contender]:
    made = []
    for i, peer in enumerate(peers):
        call = peer.load(network.path, threads)
        error = checked(f"{model} in {peer.name}", call(inputs), expected)
        made.append(_Contender(peer.name, network.compression, _bound(call, inputs), error if i else None))
    return made


def _ours(
    model: str,
    networks: Sequence[Network],
    threads: int,
    inputs: Inputs,
    references: Sequence[list[NDArray[Any]]],
) -> list[_Contender]:
    made = []
    for network, expected in zip(networks, references, strict=True):
        network.engine.threads = threads
        call = engine_call(network.engine)
        error = checked(f"{model} at {network.compression:g}x in {OURS}", call(inputs), expected)
        made.append(_Contender(OURS, network.compression, _bound(call, inputs), error))
    return made


def _bound(call: Call, inputs: Inputs) -> Callable[[], object]:
    return lambda: call(inputs)


def _result(model: str, contender: _Contender, threads: int, samples: Sequence[float]) -> Result:
    return Result(
        model=model,
        engine=contender.engine,
        threads=threads,
        compression=contender.compression,
        median_ms=median(samples),
        min_ms=min(samples),
        samples_ms=tuple(samples),
        max_rel_err=contender.max_rel_err,
    )
