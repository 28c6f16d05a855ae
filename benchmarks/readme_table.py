"""Write the results tables into README.md, one a CPU, from benchmarks/results/speed_*.json and foundation.json.

Where no speed_*.json is there yet, foundation.json alone gives a smaller table, against ONNX Runtime.

python benchmarks/readme_table.py            rewrite what stands between the markers
python benchmarks/readme_table.py --check    only say whether README.md is up to date
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import speed_tables
from pconv import units

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "foundation.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

NOT_MEASURED = "Not measured yet: `make bench` measures this machine and writes the table here."
NAMES = {"vgg16": "VGG-16", "resnet18": "ResNet-18", "resnet50": "ResNet-50"}
COLUMNS = (  # heading, engine, group (0 = dense)
    ("ONNX Runtime, dense", "onnxruntime", 0),
    ("pconv, dense", "pconv", 0),
    ("pconv, 8x", "pconv", 1),
    ("pconv, 8x in groups of 4", "pconv", 4),
)

Record = dict[str, Any]


def render(document: Record | None, speeds: Mapping[str, Record] = MappingProxyType({})) -> str:
    """Give the text between the markers: tables, and what they do not say."""
    if speeds:
        lines = [
            line
            for speed in speeds.values()
            for line in (f"{speed_tables.cpu_title(speed)}:", "", _speed_table(speed), "")
        ]
        return "\n".join([*lines, *(f"- {note}" for note in _speed_notes(document))])
    if document is None:
        return NOT_MEASURED
    lines = [
        f"| network | threads | {' | '.join(heading for heading, _, _ in COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
        *_rows(document["results"]),
        "",
        *(f"- {note}" for note in _notes(document)),
    ]
    return "\n".join(lines)


def replace(text: str, inner: str) -> str:
    """Put `inner` between the markers of a text."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{inner}\n{END}{tail}"


def read() -> Record | None:
    """Read the results, None where nothing was measured."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


def main() -> None:
    """Write or check README.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    old = README.read_text(encoding="utf-8")
    new = replace(old, render(read(), speed_tables.read()))
    if asked.check:
        sys.exit(
            "README.md: its table is not that of the results; run benchmarks/readme_table.py."
            if new != old
            else 0
        )
    README.write_text(new, encoding="utf-8")


def _rows(results: list[Record]) -> Iterable[str]:
    runs = {(record["model"], record["threads"]): None for record in results}  # a dict keeps the order
    for model, threads in runs:
        found = {
            (record["engine"], record["group"]): record["median_ms"]
            for record in results
            if (record["model"], record["threads"]) == (model, threads)
        }
        base = found["onnxruntime", 0]
        cells = [
            _cell(found.get((engine, group)), base if engine == "pconv" else None)
            for _, engine, group in COLUMNS
        ]
        yield f"| {NAMES.get(model, model)} | {threads} | {' | '.join(cells)} |"


def _cell(ms: float | None, base_ms: float | None) -> str:
    if ms is None:
        return "-"
    shown = units.milliseconds(ms)
    return shown if base_ms is None else f"{shown} ({base_ms / ms:.2f}x)"


def _notes(document: Record) -> Iterable[str]:
    machine, results = document["machine"], document["results"]
    versions = machine["versions"]
    rounds = min(len(record["samples_ms"]) for record in results)
    worst = max(record["max_rel_err"] or 0.0 for record in results)
    yield (
        f"{machine['cpu']}, {machine['os']}; ONNX Runtime {versions['onnxruntime']}, pconv "
        f"{versions['pconv']} built with {machine['compiler']}. fp32, batch 1; medians of at least {rounds} "
        "calls, the engines taking turns in one run; in brackets, how many times faster than ONNX Runtime."
    )
    yield (
        "Every answer was first compared with ONNX Runtime's on the same weights: at most "
        f"{worst:.0e} of the largest value off. The weights are random: this is speed, not accuracy."
    )
    if shares := [_share(layers) for layers in document["layers"] if _is_pruned_vgg16(layers)]:
        yield (
            "The 13 convolutions of VGG-16, counting only the multiply-adds that are executed, reach "
            f"{' and '.join(shares)} of the most that one core can do "
            f"({machine['fma_peak_gflops']:.0f} GFLOP/s, measured)."
        )
    yield from _compile_notes(document)


def _compile_notes(document: Record) -> Iterable[str]:
    for made in (
        record for record in document["compile"] if record["group"] == 1 and _is_pruned_vgg16(record)
    ):
        yield (
            f"Compiling VGG-16 at 8x takes {made['cold_s']:.0f} s, and {made['cached_s']:.1f} s when it is "
            f"cached; its file of {made['file_bytes'] / 1e6:.0f} MB (the dense weights: "
            f"{made['dense_bytes'] / 1e6:.0f} MB) loads in {made['load_ms']:.0f} ms."
        )


def _speed_table(speed: Record) -> str:
    """Show ours beside ONNX Runtime and the fastest other engine, which the times in brackets are over."""
    rows = []
    for name, record in speed["networks"].items():
        rates = sorted({variant["rate"] for variant in record["variants"] if variant["group"]})
        for rate in rates:
            for threads in speed_tables.thread_counts(record):
                rows.append([_title(name, rate), str(threads), *_speed_cells(record, rate, threads)])
    heads = ["ONNX Runtime", "fastest other engine", "pconv, dense", "pconv, pruned", "in groups of 4"]
    return speed_tables.table(["network", "threads", *heads], rows)


def _title(name: str, rate: float) -> str:
    return f"{speed_tables.TITLES.get(name, name)}, {rate:g}x"


def _speed_cells(record: Record, rate: float, threads: int) -> Iterable[str]:
    reference = speed_tables.find(record, threads, "onnxruntime", (1.0, 0))
    base = speed_tables.fastest_dense(record, threads)
    base_ms = None if base is None else base["median_ms"]
    yield _cell(None if reference is None else reference["median_ms"], None)
    yield "-" if base is None else f"{_cell(base_ms, None)} ({record['peers'][base['engine']]['title']})"
    for group in (0, 1, 4):
        compression = next(
            (
                v["compression"]
                for v in record["variants"]
                if (v["rate"], v["group"]) == (rate if group else 1.0, group)
            ),
            None,
        )
        ours = (
            None if compression is None else speed_tables.find(record, threads, "pconv", (compression, group))
        )
        yield _cell(None if ours is None else ours["median_ms"], base_ms)


def _speed_notes(document: Record | None) -> Iterable[str]:
    yield (
        "In brackets, how many times faster than the fastest other engine, on the dense network in fp32. Rates are of "
        "the 3x3 layers; the ResNets' 1x1 layers are at 4x, as are MobileNetV2's, whose depthwise layers stay dense."
    )
    yield (
        "fp32, batch 1; medians, the engines taking turns in one run a network, after every answer was compared with "
        "ONNX Runtime's. The weights are random: this is speed, not accuracy."
    )
    if document is not None:
        yield from (
            f"{note} Measured on the {document['machine']['cpu']}." for note in _compile_notes(document)
        )


def _is_pruned_vgg16(record: Record) -> bool:
    return record["model"] == "vgg16" and record["group"] > 0


def _share(layers: Record) -> str:
    shapes = "in free patterns" if layers["group"] == 1 else f"in groups of {layers['group']}"
    return f"{layers['peak_percent']:.0f}% {shapes}"


if __name__ == "__main__":
    main()
