"""Measure every kind of convolution on the layer shapes of real networks, as a share of the FMA peak.

python benchmarks/kernels.py            measure; writes results/kernels.json and the tables of docs/kernels.md
python benchmarks/kernels.py --page     only rewrite the tables

All layers of one instruction set stand in one library and run one after another, each behind the copy that lays out
its input, so that its input comes from the cache where a real network's would be. Only executed multiply-adds count.
In Winograd's way these are fewer; there the table says how many times as fast a layer then is, transforms included.
So does the table of layers with filters in the lanes, against blocks of the image.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import pages
from pconv import targets
from pconv.bench import machine, peak, timing
from pconv.bench.case import DENSE, Case, Sparsity, network
from pconv.bench.registry import conv
from pconv.build import build
from pconv.codegen import generate
from pconv.lower import lower
from pconv.lower.choice import Choice, Picker
from pconv.runtime import Engine
from pconv.targets import Target
from pconv.targets.detect import cpu_flags

RESULTS = pages.RESULTS / "kernels.json"
PAGE, MARK = pages.DOCS / "kernels.md", "kernels"

WINOGRAD = "Winograd, times as fast as direct: 3x3, stride 1"
LANES = "1x1, filters in the lanes, times as fast as blocks"
RUNS, REPEATS = 5, 12
TITLES = {"x86-64-v4": "AVX-512", "znver4": "AVX-512, scheduled for Zen 4,", "x86-64-v3": "AVX2"}
"""Of instruction sets and cores, in the order of the page."""

KEEP = 3.56
KINDS_3X3 = {
    "free, 8 shapes": Sparsity(KEEP, "scp8"),
    "free, 56 shapes": Sparsity(KEEP, "centre3"),
    "free, 126 shapes": Sparsity(KEEP, "any4"),
    "groups of 2": Sparsity(KEEP, "scp8", 2),
    "groups of 4": Sparsity(KEEP, "scp8", 4),
    "groups of 16": Sparsity(KEEP, "scp8", 16),
    "dense": DENSE,
}
KINDS_WINOGRAD = {
    "dense": DENSE,
    "free, 3.6x fewer kernels": Sparsity(KEEP, "scp8"),
    "groups of 4, 3.6x fewer kernels": Sparsity(KEEP, "scp8", 4),
}
KINDS_1X1 = {
    "free": Sparsity(4.0),
    "groups of 4": Sparsity(4.0, None, 4),
    "groups of 8": Sparsity(4.0, None, 8),
    "groups of 16": Sparsity(4.0, None, 16),
    "dense": DENSE,
}
KINDS_LANES = {"dense": DENSE, "groups of 16": Sparsity(4.0, None, 16)}
PLACES_3X3 = ((64, 224), (64, 112), (64, 56), (128, 28), (256, 14), (512, 7))
PLACES_1X1 = ((256, 64, 56), (512, 128, 28), (1024, 256, 14), (2048, 512, 7))
PLACES_LANES = (
    (256, 64, 56),
    (512, 128, 28),
    (768, 192, 17),
    (96, 576, 14),
    (1024, 256, 14),
    (256, 256, 10),
    (160, 960, 7),
    (960, 160, 7),
    (2048, 512, 7),
)
OTHERS = {
    "7x7, stride 2, 3 -> 64 @224": conv("first7", 3, 64, (224, 224), 7, stride=2, act="relu"),
    "3x3, 3 -> 64 @224": conv("first3", 3, 64, (224, 224), act="relu"),
    "depthwise 3x3, 144 @56": conv("dw56", 144, 144, (56, 56), groups=144, act="relu"),
    "depthwise 3x3, stride 2, 144 @56": conv("dw56s2", 144, 144, (56, 56), stride=2, groups=144, act="relu"),
    "depthwise 3x3, 384 @14": conv("dw14", 384, 384, (14, 14), groups=384, act="relu"),
    "depthwise 5x5, 240 @28": conv("dw5", 240, 240, (28, 28), 5, groups=240, act="relu"),
}

Record = dict[str, Any]


def cases() -> list[tuple[str, str, Case]]:
    """List what is measured, as (table, row, column's case)."""
    found = []
    for stride in (1, 2):
        for channels, size in PLACES_3X3:
            for kind, sparsity in KINDS_3X3.items():
                name = f"c3s{stride}.{size}.{kind}".replace(" ", "").replace(",", ".")
                layer = conv(
                    name, channels, channels, (size, size), stride=stride, sparsity=sparsity, act="relu"
                )
                found.append((f"3x3, stride {stride}", f"{channels} @{size}|{kind}", layer))
    for channels, size in PLACES_3X3:
        for kind, sparsity in KINDS_WINOGRAD.items():
            layer = conv(
                f"w3.{size}.{kind}".replace(" ", ""),
                channels,
                channels,
                (size, size),
                sparsity=sparsity,
                act="relu",
            )
            found.append((WINOGRAD, f"{channels} @{size}|{kind}", layer))
    for channels, filters, size in PLACES_1X1:
        for kind, sparsity in KINDS_1X1.items():
            name = f"c1.{size}.{kind}".replace(" ", "")
            layer = conv(name, channels, filters, (size, size), 1, sparsity=sparsity, act="relu")
            found.append(("1x1", f"{channels} -> {filters} @{size}|{kind}", layer))
    for channels, filters, size in PLACES_LANES:
        for kind, sparsity in KINDS_LANES.items():
            name = f"l1.{channels}.{size}.{kind}".replace(" ", "")
            layer = conv(name, channels, filters, (size, size), 1, sparsity=sparsity, act="relu")
            found.append((LANES, f"{channels} -> {filters} @{size}|{kind}", layer))
    found += [("others", f"{row}|dense", layer) for row, layer in OTHERS.items()]
    return found


def _directly(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take the best way without transforms."""
    return next(choice for choice in choices if not choice.winograd), ""


def _by_points(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take Winograd's way with the fewest kernels."""
    return min((c for c in choices if c.winograd), key=lambda c: c.shapes.kernels, default=choices[0]), ""


def _in_blocks(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take the best way whose lanes are blocks of the image."""
    return next(choice for choice in choices if not choice.schedule.kernel.positions), ""


def _in_lanes(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take the best way whose lanes are filters, of the kind of the best of all."""
    kind = choices[0].kind
    return next(c for c in choices if c.schedule.kernel.positions and c.kind == kind), ""


AGAINST: dict[str, tuple[Picker, ...]] = {WINOGRAD: (_by_points, _directly), LANES: (_in_lanes, _in_blocks)}
"""By tables of ratios, the way that is measured and the one that it is compared with; elsewhere it is `_directly`."""


def here() -> list[Target]:
    """List what this machine is measured as: its own target, and those of narrower registers."""
    native, flags = targets.native(), cpu_flags() or frozenset()
    others = [targets.get(name) for name in TITLES if name in targets.names()]
    return [native, *(t for t in others if t.lanes < native.lanes and flags.issuperset(t.features))]


def measure(target: Target) -> Record:
    """Time every case on one target of this machine."""
    listed = [one for one in cases() if one[0] != LANES or target.filter_lanes]
    ways: dict[Picker, list[Case]] = {}
    for table, _, case in listed:
        for pick in AGAINST.get(table, (_directly,)):
            ways.setdefault(pick, []).append(case)
    with ExitStack() as stack:
        engines = {
            pick: stack.enter_context(
                Engine(build(generate(lower(network(some), target, pick=pick))), threads=1)
            )
            for pick, some in ways.items()
        }
        stack.enter_context(timing.alone())
        fma_peak = peak.measure(target)
        samples: dict[tuple[Picker, str], list[float]] = {
            (pick, case.name): [] for pick, some in ways.items() for case in some
        }
        for _ in range(REPEATS):
            for pick, engine in engines.items():
                report = engine.report(runs=RUNS)
                for case in ways[pick]:
                    samples[pick, case.name].append(report.layer_ms(case.name))
        layers = {
            pick: {layer["name"]: layer for layer in engine.manifest["layers"]}
            for pick, engine in engines.items()
        }
    rows = []
    for table, place, case in listed:
        pick, *others = AGAINST.get(table, (_directly,))
        layer, taken = layers[pick][case.name], samples[pick, case.name]
        row, column = place.split("|")
        gflops = 2e-6 * layer["macs"] / median(taken)
        rows.append(
            {
                "table": table,
                "row": row,
                "column": column,
                "micro_kernel": layer["micro_kernel"],
                "reason": layer["reason"],
                "macs": layer["macs"],
                "dense_macs": layer["dense_macs"],
                "ms": round(median(taken), 5),
                "gflops": round(gflops, 2),
                "peak_percent": round(100 * gflops / fma_peak, 1),
                "samples_ms": [round(sample, 5) for sample in taken],
            }
        )
        for other in others:
            against = samples[other, case.name]
            rows[-1] |= {
                "against_ms": round(median(against), 5),
                "against_samples_ms": [round(sample, 5) for sample in against],
                "times_as_fast": round(median(against) / median(taken), 2),
            }
    described = machine.record(("numpy",), compiler=machine.compiler())
    return {
        "machine": described,
        "target": target.cpu or target.name,
        "fma_peak_gflops": round(fma_peak, 1),
        "results": rows,
    }


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8")))


def render(document: Record) -> str:
    """Give the tables: rows are places in a network, columns kinds of sparsity, cells % of the FMA peak."""
    text = []
    for part in document["instruction_sets"]:
        title = TITLES.get(part["target"], part["target"])
        text.append(
            f"**{title}** on {part['machine']['cpu']}, one thread, {part['fma_peak_gflops']:.0f} GFLOP/s at most; "
            "% of that, executed only\n"
        )
        for table in dict.fromkeys(result["table"] for result in part["results"]):
            text += [_table(table, [r for r in part["results"] if r["table"] == table]), ""]
    text.append(
        "Measured by `benchmarks/kernels.py`. A cell in brackets multiplied zeros too: dense, or kernels whole."
    )
    return "\n".join(text)


def _table(title: str, results: Sequence[Record]) -> str:
    columns = list(dict.fromkeys(result["column"] for result in results))
    places = dict.fromkeys(result["row"] for result in results)
    cells = {(r["row"], r["column"]): _cell(r) for r in results}
    rows = [[place, *(cells.get((place, column), "-") for column in columns)] for place in places]
    return pages.table([title, *columns], rows)


def _cell(result: Record) -> str:
    if "times_as_fast" in result:
        return f"{result['times_as_fast']:.2f}"
    whole = result["reason"].startswith(("dense", "kernel-sparse")) and result["column"] != "dense"
    return f"({result['peak_percent']:.0f})" if whole else f"{result['peak_percent']:.0f}"


def main() -> None:
    """Measure the instruction sets of this CPU, unless asked for the tables only; the others' results stay."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", action="store_true", help="measure nothing")
    if not parser.parse_args().page:
        parts = {
            part["target"]: part
            for part in json.loads(RESULTS.read_text(encoding="utf-8"))["instruction_sets"]
        }
        parts |= {part["target"]: part for part in map(measure, here())}
        document = {"instruction_sets": [parts[name] for name in TITLES if name in parts]}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    pages.write(PAGE, MARK, body())


if __name__ == "__main__":
    main()
