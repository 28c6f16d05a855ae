"""Fit the cost model of this CPU's target: time schedules of typical layers, then search costs that rank them right.

python benchmarks/fit_costs.py measure [--only NAME]    times schedules, into results/schedules_TARGET.json
python benchmarks/fit_costs.py again [--only NAME]      times those in the file once more
python benchmarks/fit_costs.py fit [--steps 2000]        prints the regret of each layer and the costs found

A layer's regret is the time of the schedule that the model puts first over the time of the fastest one. What is found
goes into the target's file by hand: a cost model is read by people, and the fit may follow noise.
"""

import argparse
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pconv import targets
from pconv.bench import machine, peak, timing
from pconv.bench.case import DENSE, Case, Sparsity, network
from pconv.bench.registry import conv
from pconv.build import build
from pconv.codegen import generate
from pconv.lower import lower
from pconv.lower.choice import Choice
from pconv.lower.schedule import layer_cycles, schedules
from pconv.runtime import load
from pconv.targets import Target
from pconv.targets.target import Costs

RESULTS = Path(__file__).parent / "results"
EACH = 16
"""Schedules of a layer that are timed: the modelled best ones, and the best of each kind."""

FREE, FREE_56, FREE_126 = (Sparsity(3.56, library) for library in ("scp8", "centre3", "any4"))
GROUPS_4 = Sparsity(3.56, "scp8", 4)
ONES, ONES_4 = Sparsity(4.0), Sparsity(4.0, None, 4)
# channels, filters, image, size of kernel, stride, whether pooled
SHAPES = {
    "3-64@224": (3, 64, 224, 3, 1, False),
    "64-64@224p": (64, 64, 224, 3, 1, True),
    "128-128@112p": (128, 128, 112, 3, 1, True),
    "256-256@56": (256, 256, 56, 3, 1, False),
    "256-256@56p": (256, 256, 56, 3, 1, True),
    "512-512@28": (512, 512, 28, 3, 1, False),
    "512-512@14": (512, 512, 14, 3, 1, False),
    "64-64@56": (64, 64, 56, 3, 1, False),
    "128-128@28": (128, 128, 28, 3, 1, False),
    "256-256@14": (256, 256, 14, 3, 1, False),
    "512-512@7": (512, 512, 7, 3, 1, False),
    "64-128@56s2": (64, 128, 56, 3, 2, False),
    "128-256@28s2": (128, 256, 28, 3, 2, False),
    "256-512@14s2": (256, 512, 14, 3, 2, False),
    "3-64@224k7s2": (3, 64, 224, 7, 2, False),
    "64-256@56k1": (64, 256, 56, 1, 1, False),
    "256-64@56k1": (256, 64, 56, 1, 1, False),
    "512-128@28k1": (512, 128, 28, 1, 1, False),
    "1024-256@14k1": (1024, 256, 14, 1, 1, False),
    "512-2048@7k1": (512, 2048, 7, 1, 1, False),
    "2048-512@7k1": (2048, 512, 7, 1, 1, False),
    "512-1024@28k1s2": (512, 1024, 28, 1, 2, False),
}
MANY = {"free56": FREE_56, "free126": FREE_126}
KINDS = {"dense": DENSE, "free": FREE, **MANY, "g4": GROUPS_4}
KINDS_1X1 = {"dense": DENSE, "free": ONES, "g4": ONES_4}
MANY_SHAPES = (
    "256-256@56",
    "512-512@28",
    "512-512@14",
    "512-512@7",
    "64-64@56",
    "128-128@28",
    "256-256@14",
    "128-256@28s2",
    "256-512@14s2",
)


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", choices=["measure", "again", "fit"])
    parser.add_argument("--only", default="", help="layers whose name contains this")
    parser.add_argument("--steps", type=int, default=2000, help="of the search for costs")
    parser.add_argument("--file", type=Path, help="default: results/schedules_TARGET.json")
    arguments = parser.parse_args()
    target = targets.native()
    path = arguments.file or RESULTS / f"schedules_{target.cpu or target.name}.json"
    if arguments.job != "fit":
        measure(target, path, arguments.only, again=arguments.job == "again")
    else:
        fit(*timed(json.loads(path.read_text()), arguments.only), arguments.steps)


def layers() -> Iterator[tuple[str, Case]]:
    """Give the layers by name."""
    for shape, (channels, filters, image, size, stride, pool) in SHAPES.items():
        for kind, sparsity in (KINDS if size > 1 else KINDS_1X1).items():
            if (size == 7 and kind != "dense") or (kind in MANY and shape not in MANY_SHAPES):
                continue
            name = f"{shape} {kind}"
            yield (
                name,
                conv(
                    name,
                    channels,
                    filters,
                    (image, image),
                    size,
                    stride=stride,
                    sparsity=sparsity,
                    act="relu",
                    pool=pool,
                ),
            )


def choices(case: Case, target: Target) -> list[Choice]:
    """List all ways to run a layer, best modelled first."""
    kinds: dict[str, Choice] = {}

    def keep(_: str, ranked: Sequence[Choice]) -> tuple[Choice, str]:
        for choice in ranked:
            # Winograd's transforms are steps of their own, with costs of their own; slices change what a layer is like.
            if not choice.winograd and choice.schedule.kernel.slices == 1:
                kinds.setdefault(choice.kind, choice)
        return ranked[0], ""

    lower(network([case]), target, pick=keep)
    found = []
    for kind, some in kinds.items():
        shapes, members = some.shapes, some.members
        bare = replace(some.schedule.kernel, block=0, span=1, passes=1, copies=1)
        bare = replace(bare, by_table=False, by_channel=False, mixed=False, positions=0)
        bare = replace(bare, prefetch_next=False, prefetch_output=False)
        bare = replace(bare, prefetch_kernel=False, prefetch_weights=False)
        sizes = tuple(sorted(m.size for m in members))
        for schedule in schedules(bare, target, shapes.ids.shape[1], shapes.kernels, sizes):
            found.append(Choice(kind, shapes, members, schedule))
    return sorted(found, key=lambda choice: choice.schedule.cycles)


def worth_timing(ranked: list[Choice]) -> list[str]:
    """Name the first choices, and the first of every kind behind them."""
    kinds: dict[tuple[object, ...], int] = {}
    later = []
    for choice in ranked[EACH // 2 :]:
        k = choice.schedule.kernel
        kind = choice.kind, k.group, k.mixed, k.by_table, k.by_channel, k.block > 0, k.slices, k.positions > 0
        kinds[kind] = kinds.get(kind, 0) + 1
        later.append((kinds[kind], choice.schedule.cycles, choice.name))
    first = [choice.name for choice in ranked[: EACH // 2]]
    return first + [name for _, _, name in sorted(later)[: EACH - len(first)]]


def measure(target: Target, path: Path, only: str, again: bool = False, rounds: int = 7) -> None:
    """Time schedules of every layer that is not in the file yet, or those in it `again`; layer by layer."""
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"layers": {}}
    for name, case in layers():
        before = document["layers"].get(name)
        if only not in name or bool(before) != again:
            continue
        offered = {choice.name: choice for choice in choices(case, target)}
        names = [name for name in before or worth_timing(list(offered.values())) if name in offered]
        wanted = iter([offered[name] for name in names])

        def pick(_: str, ranked: Sequence[Choice], wanted: Iterator[Choice] = wanted) -> tuple[Choice, str]:
            like = next(wanted)
            same = next(choice for choice in ranked if choice.kind == like.kind)
            # Another copy has other weights, and in a small layer perhaps fewer shapes.
            kernel = replace(like.schedule.kernel, patterns=same.schedule.kernel.patterns)
            return replace(same, schedule=replace(like.schedule, kernel=kernel)), ""

        copies = [replace(case, name=f"v{i}") for i in range(len(names))]
        library = build(generate(lower(network(copies), target, pick=pick)))
        with timing.alone(), load(library, threads=1) as engine:
            runs = [engine.report(runs=1) for _ in range(rounds)]
        times = {way: round(min(run.layer_ms(f"v{i}") for run in runs), 5) for i, way in enumerate(names)}
        document["layers"][name] = dict(sorted(times.items(), key=lambda item: item[1]))
        document["target"] = {
            "name": target.name,
            "cpu": target.cpu,
            "caches": {"l1_bytes": target.l1_bytes, "l2_bytes": target.l2_bytes},
        }
        document["machine"] = machine.record(
            ("numpy",), compiler=machine.compiler(), fma_peak_gflops=peak.measure_if_possible()
        )
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {len(names)} schedules, from {min(times.values()):.3f} ms on", flush=True)


@dataclass(frozen=True)
class Timed:
    """A schedule of a layer and the cycles that it took; the rest is what the cost model asks for."""

    choice: Choice
    cycles: float

    def modelled(self, target: Target) -> float:
        """Return the cycles by the model."""
        shapes, kernel = self.choice.shapes, self.choice.schedule.kernel
        sizes = [m.size for m in self.choice.members]
        groups = sum(-(-size // kernel.group) for size in ([sum(sizes)] if kernel.mixed else sizes))
        return layer_cycles(kernel, target, shapes.ids.shape[1], shapes.kernels, sum(sizes), groups)


def timed(document: dict[str, Any], only: str = "") -> tuple[Target, dict[str, list[Timed]]]:
    """Read the target with the caches it was measured on, and its layers; what is no longer offered is left out."""
    said = document["target"]
    target = replace(targets.get(said["name"], said.get("cpu") or None), **said["caches"])
    clock = document["machine"]["fma_peak_gflops"] / (2 * target.lanes * target.fma_units)
    found = {}
    for name, case in layers():
        times = document["layers"].get(name, {}) if only in name else {}
        ways = {choice.name: choice for choice in choices(case, target)} if times else {}
        found[name] = [Timed(ways[way], ms * clock * 1e6) for way, ms in times.items() if way in ways]
    return target, {name: schedules for name, schedules in found.items() if schedules}


def fit(target: Target, data: dict[str, list[Timed]], steps: int) -> Costs:
    """Change a few costs at a time by chance, keep what ranks better, and return the last."""

    def score(costs: Costs) -> float:
        return sum(objective(replace(target, costs=costs), layer) for layer in data.values())

    show(target, data)
    changed = random.Random(0)
    costs, lowest = target.costs, score(target.costs)
    for step in range(steps):
        if step % 100 == 0:
            print(f"step {step}: {lowest:.3f}", flush=True)
        names = changed.sample(FITTED, changed.choice((1, 1, 2, 3)))
        trial = replace(costs, **{name: _moved(name, getattr(costs, name), changed) for name in names})
        if (scored := score(trial)) < lowest:
            costs, lowest = trial, scored
    show(replace(target, costs=costs), data)
    for name, value in asdict(costs).items():
        print(f"        {name}={value:.3g},")
    return costs


HELD = {"load", "weight", "stream", "transform", "far_transform"}
FITTED = [name for name in asdict(Costs()) if name not in HELD]
"""Costs that are searched. What loads take a core's ports tell; the others are of Winograd's steps and of fully
connected layers, which are not timed here.
"""


RANGES = {"overlap": (1.0, 6.0), "remembered": (1.0, math.inf)}
"""Costs that cannot be zero, and how far they may move."""


def _moved(name: str, value: float, chance: random.Random) -> float:
    moved = max(value, 0.02) * math.exp(chance.gauss(0, 0.4))
    least, most = RANGES.get(name, (0.0, math.inf))
    return min(most, max(least, 0.0 if moved < 0.02 else moved))


def objective(target: Target, layer: list[Timed]) -> float:
    """Score one layer: the time of what the model finds fastest, softly, and a little of how far off it is."""
    modelled = [schedule.modelled(target) for schedule in layer]
    best, first = min(schedule.cycles for schedule in layer), min(modelled)
    weights = [math.exp((1 - m / first) / 0.03) for m in modelled]
    taken = sum(w * schedule.cycles for w, schedule in zip(weights, layer, strict=True)) / sum(weights)
    near = [
        math.log(m / schedule.cycles)
        for m, schedule in zip(modelled, layer, strict=True)
        if schedule.cycles < 1.4 * best
    ]
    return math.log(taken / best) + 0.1 * math.sqrt(sum(e * e for e in near) / len(near))


def show(target: Target, data: dict[str, list[Timed]]) -> None:
    """Print the regret of every layer, worst first."""
    rows = []
    for name, layer in data.items():
        first = min(layer, key=lambda schedule: schedule.modelled(target))
        best = min(layer, key=lambda schedule: schedule.cycles)
        error = first.modelled(target) / first.cycles
        rows.append((first.cycles / best.cycles, name, error, first.choice.name, best.choice.name))
    for regret, name, error, chosen, fastest in sorted(rows, reverse=True):
        print(f"{regret:5.2f}  modelled {error:4.2f}x  {name:20} {chosen}  |  {fastest}")
    print(f"mean regret {sum(row[0] for row in rows) / len(rows):.3f} of {len(rows)} layers")


if __name__ == "__main__":
    main()
