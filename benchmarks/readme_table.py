"""Write the results table into README.md, from benchmarks/results/foundation.json.

python benchmarks/readme_table.py            rewrite what stands between the markers
python benchmarks/readme_table.py --check    only say whether README.md is up to date
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


def render(document: Record | None) -> str:
    """Give the text between the markers: a table, and what it does not say."""
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
    old = README.read_text(encoding="utf-8")
    new = replace(old, render(read()))
    if "--check" in sys.argv[1:]:
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
    shown = f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms"
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
    for made in (
        record for record in document["compile"] if record["group"] == 1 and _is_pruned_vgg16(record)
    ):
        yield (
            f"Compiling VGG-16 at 8x takes {made['cold_s']:.0f} s, and {made['cached_s']:.1f} s when it is "
            f"cached; its file of {made['file_bytes'] / 1e6:.0f} MB (the dense weights: "
            f"{made['dense_bytes'] / 1e6:.0f} MB) loads in {made['load_ms']:.0f} ms."
        )


def _is_pruned_vgg16(record: Record) -> bool:
    return record["model"] == "vgg16" and record["group"] > 0


def _share(layers: Record) -> str:
    shapes = "in free patterns" if layers["group"] == 1 else f"in groups of {layers['group']}"
    return f"{layers['peak_percent']:.0f}% {shapes}"


if __name__ == "__main__":
    main()
