"""What docs/aarch64.md shows of the counts."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs" / "aarch64.md"
BASE = "ncnn"
TITLES = {"pconv": "pconv", "ncnn": "ncnn", "mnn": "MNN", "onnxruntime": "ONNX Runtime"}
TYPES = {"float32": "fp32", "float16": "fp16"}
SHOWN_LOOPS = 4

Record = Mapping[str, Any]


def render(document: Record) -> str:
    """Give two tables a case: what was executed, and the inner loops in which most of ours was."""
    lines: list[str] = []
    for case in document["cases"].values():
        lines += [f"### {case['title']}", "", *_counts(case), "", *_loops(case), ""]
    emulated = document["emulated"]
    versions = ", ".join(f"{name} {version}" for name, version in emulated["engines"].items())
    lines.append(
        f"Counted by `benchmarks/aarch64_instructions.py` on an emulated {emulated['cpu']}, one thread; cycles by "
        f"llvm-mca for {emulated['mca']}. {versions}."
    )
    return "\n".join(lines)


def _counts(case: Record) -> Iterator[str]:
    results = case["results"]
    base = {row["dtype"]: row["instructions"] for row in results if row["engine"] == BASE}
    yield f"| millions | type | instructions | of {BASE}'s | goal | multiply-adds | loads | L1 misses | error |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for dtype in TYPES:
        for engine in TITLES:
            for row in results:
                if (row["engine"], row["dtype"]) == (engine, dtype):
                    yield _count(row, base.get(dtype), case["goals"].get(dtype))


def _count(row: Record, base: int | None, goal: float | None) -> str:
    ours = row["engine"] == "pconv"
    name = f"pconv, {row['kind']}" if ours else TITLES[row["engine"]]
    share = f"{row['instructions'] / base:.3f}" if base else "-"
    wanted = f"{goal:g}" if goal and ours and row["kind"] != "dense" else ""
    numbers = (_millions(row[key]) for key in ("fmla", "loads", "l1_misses"))
    cells = [name, TYPES[row["dtype"]], _millions(row["instructions"]), share, wanted, *numbers]
    return f"| {' | '.join(cells)} | {row['max_rel_err']:.0e} |"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}" if count < 100e6 else f"{count / 1e6:.0f}"


def _loops(case: Record) -> Iterator[str]:
    yield "| ours | inner loop of | instructions | multiply-adds | loads | cycles each multiply-add | share |"
    yield "|---|---|---|---|---|---|---|"
    for dtype in TYPES:
        for row in case["results"]:
            if (row["engine"], row["dtype"]) == ("pconv", dtype):
                yield from _hottest(row)


def _hottest(row: Record) -> Iterator[str]:
    """Give the micro-kernels that execute most, layers that share one together."""
    layers, whole = row["layers"], row["instructions"]
    total: dict[str, int] = {}
    loops = {layer["micro_kernel"]: layer["inner_loop"] for layer in layers}
    for layer in layers:
        total[layer["micro_kernel"]] = total.get(layer["micro_kernel"], 0) + layer["instructions"]
    ranked = sorted(total, key=lambda name: -total[name])
    for name in [name for name in ranked if loops[name]][:SHOWN_LOOPS]:
        loop = loops[name]
        numbers = (str(loop[key]) for key in ("instructions", "fmla", "loads"))
        cells = [row["kind"], f"`{name.rpartition('_')[0]}`", *numbers, f"{loop['cycles_per_fmla']:.3f}"]
        yield f"| {' | '.join(cells)} | {total[name] / whole:.0%} |"


def render_accuracy(document: Record) -> str:
    """Give a table: what each type answers, against floats."""
    lines = [
        "| type | core | top-1 % | other answers than fp32 | largest difference |",
        "|---|---|---|---|---|",
    ]
    for dtype, row in document["results"].items():
        cells = (dtype, row["core"], f"{row['top1_percent']:.1f}", str(row["other_answers"]))
        lines.append(f"| {' | '.join(cells)} | {row['max_rel_err']:.0e} |")
    lines += [
        "",
        f"Run by `benchmarks/fp16_accuracy.py` under {document['emulator']}: {document['images']} images.",
    ]
    return "\n".join(lines)


def write_tables(document: Record, check: bool) -> None:
    """Put the tables of counts into docs/aarch64.md, or exit with 1 where they differ."""
    _write("aarch64", render(document), "aarch64_instructions.py --tables", check)


def write_accuracy(document: Record, check: bool) -> None:
    """Put the table of accuracy into docs/aarch64.md, or exit with 1 where it differs."""
    _write("accuracy", render_accuracy(document), "fp16_accuracy.py --tables", check)


def _write(block: str, text: str, script: str, check: bool) -> None:
    begin, end = f"<!-- {block}:begin -->", f"<!-- {block}:end -->"
    old = DOCS.read_text(encoding="utf-8")
    head, rest = old.split(begin)
    new = f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"
    if check and new != old:
        sys.exit(f"docs/aarch64.md is not what benchmarks/results/ says; run benchmarks/{script}")
    DOCS.write_text(new, encoding="utf-8")
