"""What docs/aarch64.md shows of the counts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pages

PAGE = pages.DOCS / "aarch64.md"
BASE = "ncnn"
TITLES = {"pconv": "pconv", "ncnn": "ncnn", "mnn": "MNN", "onnxruntime": "ONNX Runtime"}
KINDS = ("dense", "free, 8 shapes", "groups of 4", "groups of 4, layers apart")
TYPES = {"float32": "fp32", "float16": "fp16"}
COUNTED = {
    "instructions": "instructions",
    "fmla": "multiply-adds",
    "loads": "loads",
    "l1_misses": "L1 misses",
    "l2_misses": "L2 misses",
}
NO_LOOPS = "copies, pooling and the like"

Record = Mapping[str, Any]


def render(document: Record) -> str:
    """Give a table a case: what each engine executed, and below each of ours its micro-kernels."""
    lines: list[str] = []
    for case in document["cases"].values():
        lines += [f"### {case['title']}", "", _counts(case), ""]
    emulated = document["emulated"]
    versions = ", ".join(f"{name} {version}" for name, version in emulated["engines"].items())
    lines.append(
        f"Counted by `benchmarks/aarch64_instructions.py` on an emulated {emulated['cpu']}, one thread; cycles by "
        f"llvm-mca for {emulated['mca']}. {versions}."
    )
    return "\n".join(lines)


def _counts(case: Record) -> str:
    results = sorted(case["results"], key=lambda row: KINDS.index(row["kind"]))
    base = {row["dtype"]: row["instructions"] for row in results if row["engine"] == BASE}
    headings = ("millions", f"of {BASE}'s", "goal", *COUNTED.values(), "loops", "cycles", "slowest", "error")
    rows: list[Sequence[str]] = []
    for dtype in TYPES:
        for engine in TITLES:
            for row in results:
                if (row["engine"], row["dtype"]) == (engine, dtype):
                    rows += [
                        _whole(row, base.get(dtype), case["goals"].get(dtype)),
                        *_parts(row, base.get(dtype)),
                    ]
    return pages.table(headings, rows)


def _whole(row: Record, base: int | None, goal: float | None) -> Sequence[str]:
    """Give the cells of an engine."""
    ours = row["engine"] == "pconv"
    name = f"pconv, {row['kind']}" if ours else TITLES[row["engine"]]
    wanted = f"{goal:g}" if goal and ours and row["kind"] != "dense" else ""
    loops = _loops(row["layers"]) if ours else ("", "", "")
    head = (f"**{name}, {TYPES[row['dtype']]}**", _share(row, base), wanted)
    return (*head, *_numbers(row), *loops, f"{row['max_rel_err']:.0e}")


def _parts(row: Record, base: int | None) -> Iterator[Sequence[str]]:
    """Give the cells of each micro-kernel of ours, the busiest first; those without multiply-adds stand together."""
    found: dict[str, list[Record]] = {}
    for layer in row.get("layers", ()):
        name = f"`{layer['micro_kernel'].rpartition('_')[0]}`" if layer["inner_loops"] else NO_LOOPS
        found.setdefault(name, []).append(layer)
    summed = {name: {key: sum(layer[key] for layer in found[name]) for key in COUNTED} for name in found}
    for name in sorted(found, key=lambda name: (name == NO_LOOPS, -summed[name]["instructions"])):
        yield (name, _share(summed[name], base), "", *_numbers(summed[name]), *_loops(found[name]), "")


def _loops(layers: Sequence[Record]) -> tuple[str, str, str]:
    """Say how many inner loops there are, a micro-kernel's once, and the cycles of a multiply-add in them."""
    described = {layer["micro_kernel"]: layer["inner_loops"] for layer in layers if layer["inner_loops"]}
    all_runs = [layer["inner_loops"] for layer in layers if layer["inner_loops"]]
    if not all_runs:
        return "", "", ""
    fmla = sum(run["fmla"] for run in all_runs)
    mean = sum(run["cycles_per_fmla"] * run["fmla"] for run in all_runs) / fmla
    slowest = max(run["slowest"] for run in all_runs)
    return str(sum(loops["loops"] for loops in described.values())), f"{mean:.2f}", f"{slowest:.2f}"


def _share(counts: Record, base: int | None) -> str:
    return f"{counts['instructions'] / base:.3f}" if base else "-"


def _numbers(counts: Record) -> Iterator[str]:
    return (_millions(counts[key]) for key in COUNTED)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}" if count < 100e6 else f"{count / 1e6:.0f}"


def render_accuracy(document: Record) -> str:
    """Give a table: what each type answers, against floats."""
    headings = ("type", "core", "top-1 %", "other answers than fp32", "largest difference")
    rows = [
        (
            dtype,
            row["core"],
            f"{row['top1_percent']:.1f}",
            str(row["other_answers"]),
            f"{row['max_rel_err']:.0e}",
        )
        for dtype, row in document["results"].items()
    ]
    said = f"Run by `benchmarks/fp16_accuracy.py` under {document['emulator']}: {document['images']} images."
    return f"{pages.table(headings, rows)}\n\n{said}"
