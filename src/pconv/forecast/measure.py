"""Prune for speed only, compile, and time: fills the table. The weights that are left are of no use."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from pconv.bench import compare, machine, timing
from pconv.bench.peers import Peer
from pconv.compiler import compile
from pconv.errors import ModelError
from pconv.forecast.table import DENSE_RATE, LayerTime, Table, Variant, make_recipe
from pconv.graph import load
from pconv.graph.prune import find_layers, prune_model, save
from pconv.recipe import LayerRule, Recipe, plan_layers
from pconv.runtime import Engine

Event = Callable[[str, float | None], object]

NETWORK_SHARE = 0.7  # of the time: the rest goes to profiled runs
PROFILE_RUNS = 3
MIN_PROFILES = 3


@dataclass(frozen=True)
class _Job:
    """A variant before it is measured."""

    compression: float
    group: int
    recipe: Recipe | None
    rules: Mapping[str, LayerRule]

    @property
    def name(self) -> str:
        return "dense" if self.recipe is None else f"{self.compression:g}x, groups of {self.group}"


@dataclass(frozen=True)
class _Contender:
    job: _Job
    engine: Engine
    max_rel_err: float | None


def measure(
    model: str,
    path: Path,
    compressions: Sequence[float],
    groups: Sequence[int],
    settings: Mapping[str, Any],
    *,
    threads: int = 1,
    seconds: float = 20.0,
    peers: Sequence[Peer] = (),
    on_event: Event = lambda text, share: None,
    on_wait: Callable[[], object] | None = None,
) -> Table:
    """Measure a network dense, and pruned by magnitude at every compression in every group.

    All variants take turns on the machine, first as whole networks, then layer by layer. `settings` are a
    recipe's, for all variants. With a peer, every variant's answer is compared with it before anything is timed.

    Raises: RecipeError when a compression does not fit the model, before anything is compiled; ModelError when there
    is nothing to prune; PconvError when an answer is wrong.
    """
    jobs = _jobs(model, path, compressions, groups, settings)
    contenders: list[_Contender] = []
    for i, job in enumerate(jobs):

        def progress(what: str, done: int, total: int, i: int = i, job: _Job = job) -> None:
            share = (i + done / max(total, 1)) / len(jobs)
            on_event(f"{i + 1} of {len(jobs)}, {job.name}: {what}", share)

        progress("pruning", 0, 1)
        contenders.append(_prepare(model, path, job, threads, peers, progress))
    with timing.alone(on_wait):
        samples, profiles = _time(contenders, seconds, threads, on_event)
    common = set.intersection(*(_steps(contender) for contender in contenders))
    variants = [
        _variant(contender, common, taken, profile)
        for contender, taken, profile in zip(contenders, samples, profiles, strict=True)
    ]
    inputs = {info.name: info.shape for info in contenders[0].engine.inputs}
    left_out = tuple(name for name in jobs[0].rules if name not in common)
    for contender in contenders:
        contender.engine.close()
    described = machine.record(("numpy", *(peer.name for peer in peers)), compiler=machine.compiler())
    return Table(model, threads, dict(settings), described, tuple(variants), inputs, left_out)


def measure_one(
    path: Path, threads: int, seconds: float, on_event: Event, on_wait: Callable[[], object] | None = None
) -> tuple[float, ...]:
    """Compile a model and time it alone. Units: milliseconds, a sample a run."""

    def progress(what: str, done: int, total: int) -> None:
        on_event(what, done / max(total, 1))

    with compile(path, threads=threads, progress=progress) as engine, timing.alone(on_wait):
        taken = timing.interleave(
            {"it": _call(engine)}, seconds, on_round=lambda share: on_event("timing", share)
        )
    return tuple(taken["it"])


def _jobs(
    model: str,
    path: Path,
    compressions: Sequence[float],
    groups: Sequence[int],
    settings: Mapping[str, Any],
) -> list[_Job]:
    infos = [layer.info for layer in find_layers(load(path))]
    if not infos:
        raise ModelError(
            f"{model}: no 2-D Conv, Gemm or MatMul with constant float weights; there is nothing to prune."
        )
    dense = {info.name: LayerRule(info.shape, info.shape[1]) for info in infos}
    jobs = [_Job(DENSE_RATE, 1, None, dense)]
    for group in sorted(set(groups)):
        for compression in sorted({rate for rate in compressions if rate != DENSE_RATE}):
            recipe = make_recipe(settings, compression, group)
            jobs.append(_Job(compression, group, recipe, plan_layers(recipe, infos)))
    rules = [rule for job in jobs for rule in job.rules.values()]
    if all(rule.compression_rate == DENSE_RATE for rule in rules):
        raise ModelError(
            f"{model}: no layer is pruned at these rates, so there is nothing to forecast. --compression is of 3x3 "
            "convolutions, --rate-1x1 and --rate-fc of 1x1 and fully connected layers; --exclude keeps layers dense."
        )
    return jobs


def _prepare(
    model: str,
    path: Path,
    job: _Job,
    threads: int,
    peers: Sequence[Peer],
    progress: Callable[[str, int, int], None],
) -> _Contender:
    with TemporaryDirectory(prefix="pconv-") as folder:
        file = path
        if job.recipe is not None:
            file = Path(folder) / f"{path.stem}.onnx"
            save(prune_model(load(path), job.recipe)[0], file)
        engine = compile(file, threads=threads, progress=progress)
        if not peers:
            return _Contender(job, engine, None)
        progress("checking", 1, 1)
        inputs = _inputs(engine)
        expected = compare.reference_outputs(file, inputs, peers)
        answer = compare.engine_call(engine)(inputs)
        return _Contender(job, engine, compare.checked(f"{model}, {job.name}", answer, expected))


def _inputs(engine: Engine) -> dict[str, Any]:
    return dict(compare.random_inputs({info.name: info.shape for info in engine.inputs}))


def _call(engine: Engine) -> Callable[[], object]:
    call, inputs = compare.engine_call(engine), _inputs(engine)
    return lambda: call(inputs)


def _time(
    contenders: Sequence[_Contender], seconds: float, threads: int, on_event: Event
) -> tuple[list[list[float]], list[list[float]]]:
    """Time networks, then steps, all in turns. Returns: samples, and each step's median, of every contender."""
    samples = timing.interleave(
        {str(i): _call(contender.engine) for i, contender in enumerate(contenders)},
        NETWORK_SHARE * seconds,
        settle_s=timing.SETTLE_S if threads > 1 else 0.0,
        on_round=lambda share: on_event("timing the network", NETWORK_SHARE * share),
    )
    rounds: list[list[list[float]]] = [[] for _ in contenders]
    start = time.perf_counter()
    left = (1 - NETWORK_SHARE) * seconds
    while len(rounds[-1]) < MIN_PROFILES or time.perf_counter() - start < left:
        for taken, contender in zip(rounds, contenders, strict=True):
            inputs = list(_inputs(contender.engine).values())
            report = contender.engine.report(inputs, runs=PROFILE_RUNS)
            taken.append([layer.ms for layer in report.layers])
        passed = min(1.0, (time.perf_counter() - start) / left) if left > 0 else 1.0
        on_event("timing the layers", NETWORK_SHARE + (1 - NETWORK_SHARE) * passed)
    return list(samples.values()), [[median(times) for times in zip(*taken, strict=True)] for taken in rounds]


def _steps(contender: _Contender) -> set[str]:
    return {step["name"] for step in contender.engine.manifest["layers"]}


def _variant(
    contender: _Contender, common: Container[str], samples_ms: Sequence[float], steps_ms: Sequence[float]
) -> Variant:
    """Join what was measured; the profile is scaled to the network's median, which runs without clocks inside.

    Layers that not all variants have in `common` belong to the rest: a branch may be merged into another, or nobody
    reads its result.
    """
    job, manifest = contender.job, contender.engine.manifest
    steps, outside = manifest["layers"], {t["name"] for t in (*manifest["inputs"], *manifest["outputs"])}
    rules = {name: rule for name, rule in job.rules.items() if name in common}
    scale = median(samples_ms) / max(sum(steps_ms), 1e-9)
    spent, dense_macs = dict.fromkeys(rules, 0.0), dict.fromkeys(rules, 0)
    rest, rest_macs = 0.0, 0
    for step, ms in zip(steps, steps_ms, strict=True):
        owner = _owner(step["name"], spent, outside)
        if owner is None:
            rest += ms * scale
            rest_macs += step["dense_macs"]
        else:
            spent[owner] += ms * scale
            dense_macs[owner] += step["dense_macs"]
    said = {step["name"]: step for step in steps}
    layers = tuple(
        LayerTime(
            name,
            rule.compression_rate,
            rule.group,
            spent[name],
            round(dense_macs[name] / rule.compression_rate),
            dense_macs[name],
            said[name]["micro_kernel"],
            said[name]["reason"],
        )
        for name, rule in rules.items()
    )
    return Variant(
        job.compression,
        job.group,
        median(samples_ms),
        min(samples_ms),
        tuple(samples_ms),
        rest,
        contender.engine.path.stat().st_size,
        contender.max_rel_err,
        layers,
        rest_macs,
    )


def _owner(step: str, layers: Container[str], outside: Container[str]) -> str | None:
    """Find the layer that a step belongs to: its own, or that of `layer:tap0_1` and the like.

    What brings the network's inputs in and its outputs out is nobody's, though a layer may be called as they are.
    """
    stem, _, part = step.rpartition(":")
    if stem in outside and part in ("relayout", "output"):
        return None
    return step if step in layers else stem if stem in layers else None
