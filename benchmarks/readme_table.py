"""Write the results tables into README.md, one a CPU, from benchmarks/results/speed_*.json and compile_times.json.

python benchmarks/readme_table.py
"""

import argparse
import json
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any

import pages
import speed_tables
from pconv import units

RESULTS = pages.RESULTS / "compile_times.json"
PAGE, MARK = pages.README, "results"
HEADINGS = (
    "network", "threads", "ONNX Runtime", "fastest other engine", "pconv, dense", "pconv, pruned", "in groups of 4",
)  # fmt: skip

Record = dict[str, Any]


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8")), speed_tables.read())


def render(compiled: Record, speeds: Mapping[str, Record]) -> str:
    """Give the text between the marks: a table for each CPU, and what they do not say."""
    lines = [
        line
        for speed in speeds.values()
        for line in (f"{speed_tables.cpu_title(speed)}:", "", pages.table(HEADINGS, _rows(speed)), "")
    ]
    return "\n".join([*lines, *(f"- {note}" for note in _notes(compiled, speeds.values()))])


def _rows(speed: Record) -> Iterable[list[str]]:
    """Show ours beside ONNX Runtime and the fastest other engine, which the times in brackets are over."""
    for name, record in speed["networks"].items():
        rates = sorted({variant["rate"] for variant in record["variants"] if variant["group"]})
        for rate in rates:
            for threads in speed_tables.thread_counts(record):
                title = f"{speed_tables.TITLES.get(name, name)}, {rate:g}x"
                yield [title, str(threads), *_cells(record, rate, threads)]


def _cells(record: Record, rate: float, threads: int) -> Iterable[str]:
    reference = speed_tables.find(record, threads, "onnxruntime", (1.0, 0))
    base = speed_tables.fastest_dense(record, threads)
    yield _cell(reference, None)
    yield "-" if base is None else f"{_cell(base, None)} ({record['peers'][base['engine']]['title']})"
    for group in (0, 1, 4):
        wanted = (rate if group else 1.0, group)
        keys = [speed_tables.key(v) for v in record["variants"] if (v["rate"], v["group"]) == wanted]
        yield _cell(speed_tables.find(record, threads, "pconv", keys[0]) if keys else None, base)


def _cell(result: Mapping[str, Any] | None, base: Mapping[str, Any] | None) -> str:
    if result is None:
        return "-"
    shown = units.milliseconds(result["median_ms"])
    return shown if base is None else f"{shown} ({base['median_ms'] / result['median_ms']:.2f}x)"


def _against(speeds: Iterable[Record], engine: str, dense: bool) -> list[tuple[float, str]]:
    """List how many times faster our pruned networks are than an engine, on its `dense` network or on our zeros."""
    found = []
    for name, record in (item for speed in speeds for item in speed["networks"].items()):
        for threads, variant in product(speed_tables.thread_counts(record), record["variants"]):
            key = speed_tables.key(variant)
            ours = speed_tables.find(record, threads, speed_tables.OURS, key)
            other = speed_tables.find(record, threads, engine, (1.0, 0) if dense else key)
            if variant["group"] and ours and other:
                title = speed_tables.TITLES.get(name, name) + ", free" * (variant["group"] == 1)
                where = f"{threads} thread{'s' * (threads > 1)} of the {record['machine']['cpu']}"
                found.append((other["median_ms"] / ours["median_ms"], f"{title} on {where}"))
    return sorted(found)


def _nearest(speeds: Collection[Record]) -> Iterable[str]:
    """Say how the two come out that the tables leave out, and where they win."""
    if zeros := _against(speeds, "deepsparse", dense=False):
        times = f"{zeros[0][0]:.1f} to {zeros[-1][0]:.1f}"
        yield f"Against DeepSparse on the same zeros, pruned networks are {times} times as fast."
    if int8 := _against(speeds, "onnxruntime-int8", dense=True):
        lost = [f"{case} ({times:.2f}x)" for times, case in int8 if times < 1]
        yield (
            f"Against ONNX Runtime with the dense network in int8, {int8[0][0]:.1f} to {int8[-1][0]:.1f} times"
            + (f": int8 wins against {', '.join(lost)}." if lost else ".")
        )


def _notes(compiled: Record, speeds: Collection[Record]) -> Iterable[str]:
    yield (
        "In brackets, how many times faster than the fastest other engine, on the dense network in fp32. Rates are of "
        "the 3x3 layers, of which the first keeps all kernels, and of fully connected layers; the ResNets' 1x1 layers "
        "are at 4x, as are MobileNetV2's, whose depthwise layers keep patterns of 4 weights."
    )
    yield (
        "fp32, batch 1; medians, the engines taking turns in one run a network, after every answer was compared with "
        "ONNX Runtime's. The weights are random: this is speed, not accuracy."
    )
    yield from _nearest(speeds)
    for made in compiled["compile"]:
        if (made["model"], made["group"]) == ("vgg16", 1):
            yield (
                f"Compiling VGG-16 at 8x takes {made['cold_s']:.0f} s, and {made['cached_s']:.1f} s when it is "
                f"cached; its file of {made['file_bytes'] / 1e6:.0f} MB (the dense weights: "
                f"{made['dense_bytes'] / 1e6:.0f} MB) loads in {made['load_ms']:.0f} ms. Measured on the "
                f"{compiled['machine']['cpu']}."
            )


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    pages.write(PAGE, MARK, body())
