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

from pconv import zoo
from pconv.bench import machine
from pconv.bench.peers import get
from pconv.forecast import Budget, Table, search_rates
from pconv.forecast.measure import measure, measure_one
from pconv.forecast.rates import recipe_of
from pconv.forecast.sensitivity import by_pruning, energy_lost
from pconv.graph import load
from pconv.graph.prune import find_layers, prune_model, save

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "forecast.json"
DOCS = ROOT / "docs" / "forecast.md"
BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->"
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
        DOCS.write_text(replace(DOCS.read_text("utf-8"), render(document)), encoding="utf-8")
        print(f"wrote {DOCS}")


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


def render(document: dict[str, Any] | None) -> str:
    """Write the docs' table: each recipe's latency, asked for, expected and measured."""
    if document is None:
        return "Not measured yet.\n"
    lines = ["| network | group | dense | asked for | expected | measured |", "|---|---|---|---|---|---|"]
    for one in document["recipes"]:
        error = one["median_ms"] / one["expected_ms"] - 1
        times = (one["dense_ms"], one["limit_ms"], one["expected_ms"])
        cells = [one["model"], str(one["group"])]
        cells += [f"{ms:.2f} ms" for ms in times] + [f"{one['median_ms']:.2f} ms ({error:+.1%})"]
        lines.append(f"| {' | '.join(cells)} |")
    said = document["machine"]
    least = min(len(one["samples_ms"]) for one in document["recipes"])
    lines += [
        "",
        f"{said['cpu']}, {said['os']}, pconv {said['versions']['pconv']}; 1 thread, batch 1; medians, "
        f"of at least {least} runs for what was measured.",
    ]
    return "\n".join(lines) + "\n"


def read() -> dict[str, Any] | None:
    """Read the results; None where nothing was measured yet."""
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else None


def replace(text: str, table: str) -> str:
    """Put a table between the marks of a text."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table + END + rest.partition(END)[2]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what docs/forecast.md claims.")
    parser.add_argument("networks", nargs="*", default=["resnet18"], help="default: resnet18")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the table")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
