"""Measure what docs/forecast.md claims: the latency that a recipe is expected to have against what it then has.

    python benchmarks/forecast.py                            ResNet-18, two quiet minutes; writes the docs' table
    python benchmarks/forecast.py resnet20_cifar -o x.json   a quick look at a small one

A table is measured; for each group, recipes are searched for a few latencies in it, by weights; each is compiled and
timed. The weights are random, which is right for timing and says nothing about accuracy.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pages
from pconv import units, zoo
from pconv.bench import machine
from pconv.bench.peers import get
from pconv.forecast import Budget, Table, search_rates
from pconv.forecast.measure import measure, measure_one
from pconv.forecast.rates import recipe_of
from pconv.forecast.sensitivity import by_pruning, energy_lost
from pconv.graph import load
from pconv.graph.prune import find_layers, prune_model, save

RESULTS = pages.RESULTS / "forecast.json"
PAGE, MARK = pages.DOCS / "forecast.md", "results"
COMPRESSIONS, GROUPS = (2.25, 4.0, 8.0, 16.0), (1, 4)
SPEED_UPS = (2.0, 4.0)
"""Latencies to meet, as speed-ups over the dense network."""
CHECK_S = 2.0


def main() -> None:
    """Measure, and write the results and the docs' table."""
    arguments = _arguments()
    document: dict[str, Any] = {
        "machine": machine.record(("numpy", "onnxruntime"), compiler=machine.compiler()),
        "settings": {"seconds": arguments.seconds, "check_seconds": CHECK_S, "sensitivity": "weights"},
        "tables": [],
        "recipes": [],
    }
    for name in arguments.networks:
        with TemporaryDirectory(prefix="pconv-forecast-") as folder:
            path = zoo.to_onnx(name, Path(folder) / f"{name}.onnx")
            print(f"{name}: measuring the table", flush=True)
            table = measure(
                name, path, COMPRESSIONS, GROUPS, {}, seconds=arguments.seconds, peers=[get("onnxruntime")]
            )
            document["tables"].append(table.as_json())
            document["recipes"] += list(_recipes(table, path, Path(folder)))
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {arguments.output}")
    if arguments.output == RESULTS:
        pages.write(PAGE, MARK, body())


def _recipes(table: Table, path: Path, folder: Path) -> Iterator[dict[str, Any]]:
    model = load(path)
    infos = [layer.info for layer in find_layers(model)]
    harms = by_pruning(table, path, table.groups, energy_lost)
    for group in table.groups:
        for speed_up in SPEED_UPS:
            limit = table.dense.median_ms / speed_up
            found = search_rates(table, harms[group], Budget("ms", limit), group)
            pruned = folder / "pruned.onnx"
            save(prune_model(model, recipe_of(found, table, infos))[0], pruned)
            samples = measure_one(pruned, table.threads, CHECK_S, lambda text, share: None)
            print(f"{table.model}: expected {found.ms:.3f} ms, measured {median(samples):.3f} ms", flush=True)
            yield {
                "model": table.model,
                "threads": table.threads,
                "group": group,
                "dense_ms": table.dense.median_ms,
                "limit_ms": limit,
                "rates": dict(found.rates),
                "harm": found.harm,
                "expected_ms": found.ms,
                "median_ms": median(samples),
                "samples_ms": [round(sample, 4) for sample in samples],
            }


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8")))


def render(document: dict[str, Any]) -> str:
    """Write the docs' table: each recipe's latency, asked for, expected and measured."""
    rows = []
    for one in document["recipes"]:
        times = (one["dense_ms"], one["limit_ms"], one["expected_ms"])
        error = one["median_ms"] / one["expected_ms"] - 1
        measured = f"{units.milliseconds(one['median_ms'])} ({error:+.1%})"
        rows.append([one["model"], str(one["group"]), *map(units.milliseconds, times), measured])
    table = pages.table(["network", "group", "dense", "asked for", "expected", "measured"], rows)
    said = document["machine"]
    least = min(len(one["samples_ms"]) for one in document["recipes"])
    return (
        f"{table}\n\n{said['cpu']}, {machine.system(said)}, pconv {said['versions']['pconv']}; 1 thread, batch 1; "
        f"medians, of at least {least} runs for what was measured."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what docs/forecast.md claims.")
    parser.add_argument("networks", nargs="*", default=["resnet18"], help="default: resnet18")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the table")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
