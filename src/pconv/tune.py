"""Measure schedules instead of modelling them: the whole network, compiled once per round with other choices.

In round r every distinct layer runs its r-th choice of the cost model's ranking, inside the network and so with
the caches as they will be. Rounds alternate with the modelled network; a layer keeps the choice whose time,
relative to the modelled one's in the same round, is least. In the end the tuned network has to beat the modelled
one as a whole, or nothing is recorded. What is timed runs here or on a device; see `pconv.trial`. Source: ours; the
ranking keeps the search small, the network itself is the harness.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv import targets, tuning
from pconv.codegen import generate
from pconv.compiler import choose_target, read_model
from pconv.devices import Device
from pconv.errors import BuildError
from pconv.files import check_writable
from pconv.lower import lower
from pconv.lower.choice import Choice, Picker
from pconv.lower.plan import Plan
from pconv.targets import Target
from pconv.trial import CHECKS, Here, There, Trial
from pconv.tuning import Record, Tuning

RUNS = 6
"""Profiled runs of each network in a round, taking turns; the fastest of a layer counts."""
MIN_GAIN = 0.02
"""A choice must be faster than the modelled one by this share, or noise would decide."""
WORST_MODELLED = 2.5
"""Choices that the model puts this far behind its first are not tried."""
Report = Callable[[str, float | None], object]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found: milliseconds of the whole network as modelled and as tuned, rounds, the file."""

    modelled_ms: float
    tuned_ms: float
    rounds: int
    layers: int
    improved: Mapping[str, Record]
    path: Path
    seconds: float


@dataclass(slots=True)
class _Layer:
    """All layers of one key: what is offered beside the modelled choice, what of it to try, and the best so far."""

    modelled: str
    offered: frozenset[str]
    options: list[str]
    best: str
    ratio: float = 1.0
    ms: float = 0.0
    tried: int = 1
    known: Record | None = None

    def begin(self, known: Record | None) -> None:
        """Begin with what an earlier search recorded, where that is still offered."""
        if known is not None and known.schedule in self.offered:
            self.known, self.best, self.ratio, self.ms = known, known.schedule, known.ratio, known.ms

    def note(self, schedule: str, ratio: float, ms: float) -> None:
        """Take in one more measurement."""
        self.tried += 1
        if ratio < self.ratio:
            self.best, self.ratio, self.ms = schedule, ratio, ms

    def record(self, threads: int) -> Record:
        """Return what is worth keeping: the earlier record if nothing beat it, not even the modelled choice."""
        if (known := self.known) is not None:
            beaten = self.ratio > 1 if self.best == known.schedule else self.ratio < known.ratio
            if not beaten:
                return known
        if self.ratio > 1 - MIN_GAIN:
            return Record(self.modelled, 1.0, round(self.ms, 5), threads, self.tried)
        return Record(self.best, round(self.ratio, 4), round(self.ms, 5), threads, self.tried)


def tune(
    model: Any,
    *,
    inputs: Any = None,
    target: str | None = None,
    cpu: str | None = None,
    dtype: str | None = None,
    dense: Iterable[str] = (),
    fold: int = 1,
    threads: int = 1,
    seconds: float = 120.0,
    device: Device | None = None,
    cpus: str = "",
    cc: str | None = None,
    path: Path | None = None,
    on_event: Report = lambda text, share: None,
) -> Tuned:
    """Search the fastest schedule of every convolution on this machine, and record those that gain.

    `target` is this machine's CPU by default; "opencl" (or a variant) tunes for its OpenCL device; `dtype` and `fold`
    are as for `pconv.compile`. With `device`, everything runs there, on the cores `cpus` where they are named, and the
    records are those of its processor. `seconds` bounds the search, compiling included: a round that has begun is
    finished, one is made at least.
    `path` is the tuning file, by default this machine's own, which `pconv.compile` reads. Its records stay, but for
    those of layers for which something faster was measured.

    Raises: as `compile` does; BuildError when the file cannot be written or is another CPU's, the model has no
    convolutions, or the target is another machine's and no device is named; DeviceError when the device fails.
    """
    start = time.perf_counter()
    if path is not None:
        check_writable(path, tuning.ADVICE)
    chosen = choose_target(target or (device.platform if device else None), cpu, dtype)
    if device is None:
        _require_here(chosen)
    view = read_model(model, inputs)

    def trial(pick: Picker, file: str = "tried") -> tuple[Trial, Plan]:
        plan = lower(view, chosen, frozenset(dense), None, pick, fold)
        program = generate(plan)
        if device is None:
            return Here(program, threads, cc), plan
        return There(program, device, file, threads, cpus, cc), plan

    layers: dict[str, _Layer] = {}
    on_event("compiling as modelled", 0.0)
    base, modelled = trial(lambda key, choices: _note(layers, key, choices), "modelled")
    if not layers:
        base.close()
        raise BuildError("there is nothing to tune: the model has no convolution with a choice of schedules.")
    processor = base.cpu() if isinstance(base, There) else None
    path = path or tuning.default_path(chosen, processor)
    known = _load(path, chosen, processor)
    for key, layer in layers.items():
        layer.begin(known.records.get(key))
    rounds = max(len(layer.options) for layer in layers.values())
    done = 0
    while done < rounds and (not done or time.perf_counter() - start < seconds):
        share = min(1.0, (time.perf_counter() - start) / seconds) if seconds > 0 else 1.0
        on_event(f"round {done + 1} of at most {rounds}", share)
        tried = {key: layer.options[done] for key, layer in layers.items() if done < len(layer.options)}
        other, plan = trial(partial(_take, tried))
        with closing(other):
            for key, ratio, ms in _compare((modelled, plan), (base, other), RUNS):
                if key in tried:
                    layers[key].note(tried[key], ratio, ms)
        done += 1
    on_event("checking what was found", None)
    best, plan = trial(partial(_take, {key: layer.best for key, layer in layers.items()}))
    with closing(best):
        # The least of many noisy times is too good to be true: only what gains once more is kept.
        for key, ratio, ms in _compare((modelled, plan), (base, best), 2 * RUNS):
            layers[key].ratio, layers[key].ms = ratio, ms
    records = {key: layer.record(threads) for key, layer in layers.items()}
    found = known.merged(records)
    tuned, _ = trial(found.pick)
    with closing(base), closing(tuned):
        modelled_ms, tuned_ms = _milliseconds(base, tuned)
    if tuned_ms < modelled_ms:
        _load(path, chosen, processor).merged(records).save(path)  # another search may have written meanwhile
    improved = {key: record for key, record in records.items() if record.ratio < 1}
    return Tuned(modelled_ms, tuned_ms, done, len(layers), improved, path, time.perf_counter() - start)


def _require_here(target: Target) -> None:
    here = targets.native()
    if target.arch != "opencl" and (target.os, target.arch) != (here.os, here.arch):
        raise BuildError(
            f"target {target.name} on {target.os}: tuning measures, and this machine is {here.name} on {here.os}; "
            "name a device that can run it, e.g. --device adb:SERIAL."
        )


def _load(path: Path, target: Target, processor: str | None) -> Tuning:
    """Read the records that new ones are to join.

    Raises: BuildError when they are another CPU's or type's, which new ones would replace.
    """
    known, here = tuning.load(path, target, processor), tuning.cpu_name(target, processor)
    if known.cpu != here:
        raise BuildError(
            f"{path}: its records are for {known.cpu}; allowed here are those for {here}. {tuning.ADVICE}"
        )
    return known


def _note(layers: dict[str, _Layer], key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take the modelled choice, and write down what else there is: the best of each other kind first."""
    first = choices[0]
    offered = frozenset(choice.name for choice in choices) - {first.name}
    near = [c for c in choices[1:] if c.schedule.cycles < WORST_MODELLED * first.schedule.cycles]
    kinds = {c.kind: c.name for c in reversed(near) if c.kind != first.kind}
    options = list(dict.fromkeys([*kinds.values(), *(c.name for c in near)]))
    layers[key] = _Layer(first.name, offered, options, first.name)
    return first, ""


def _take(names: Mapping[str, str], key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take the choice of that name; the modelled one for a layer without a name."""
    return next((choice for choice in choices if choice.name == names.get(key)), choices[0]), ""


def _compare(
    plans: tuple[Plan, Plan], trials: tuple[Trial, Trial], runs: int
) -> Iterator[tuple[str, float, float]]:
    """Run two networks in turns; give each key's time in the second against the first, and its milliseconds.

    Of two layers that run in turns in one of the networks, only the sum compares: both have that.
    """
    times = [trial.profile() for trial in trials]
    for _ in range(runs - 1):
        times = [np.minimum(t, trial.profile()) for t, trial in zip(times, trials, strict=True)]
    pairs = {keys for plan in plans for keys in _pairs(plan)}
    before, after = (_together(_by_key(plan, t), pairs) for plan, t in zip(plans, times, strict=True))
    for key, ms in after.items():
        yield key, ms / before[key], ms


def _pairs(plan: Plan) -> Iterator[tuple[str, str]]:
    """Give the keys of each two layers that run in turns."""
    for first, behind in pairwise(plan.steps):
        if behind.within:
            yield first.work.key, behind.work.key


def _together(times: dict[str, float], pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Return the times by key, where each of a pair has the time of both."""
    return times | {key: times[a] + times[b] for a, b in sorted(pairs) for key in (a, b)}


def _by_key(plan: Plan, times: NDArray[np.float64]) -> dict[str, float]:
    """Return the milliseconds of a layer of each key, all its steps together."""
    total: dict[str, float] = defaultdict(float)
    layers: Counter[str] = Counter()
    for step, ms in zip(plan.steps, times, strict=True):
        if step.work.key:
            total[step.work.key] += ms
            layers[step.work.key] += step.work.macs > 0 or step.work.dense_macs > 0
    return {key: ms / layers[key] for key, ms in total.items()}


def _milliseconds(*trials: Trial) -> list[float]:
    """Time whole networks in turns; the medians."""
    samples = [[trial.latency_ms() for trial in trials] for _ in range(CHECKS)]
    return [float(np.median(taken)) for taken in zip(*samples, strict=True)]
