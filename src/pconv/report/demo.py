"""The page of a demo run: what was measured, in words and pictures."""

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from pconv.bench import machine as machine_room
from pconv.report.charts import Bar, number
from pconv.report.gallery import TIMES, pattern_counts, pattern_uses, sparse_layers
from pconv.report.page import Page, Row, Stat

if TYPE_CHECKING:
    from pconv.demo.result import DemoResult

TITLES = {"digits": "Handwritten digits", "cifar10": "CIFAR-10"}
LABELS = {
    "onnxruntime dense": ("ONNX Runtime, dense", "peer"),
    "pconv dense": ("pconv, dense", "dense"),
    "pconv pruned": ("pconv, pruned", "pruned"),
}
BASE = "onnxruntime dense"
OURS = "pconv pruned"


def demo_page(result: "DemoResult", machine: Mapping[str, Any]) -> Page:
    """Say what a demo run measured."""
    medians = {name: median(samples) for name, samples in result.samples_ms.items()}
    engines = [name for name in LABELS if name in medians]
    base = medians[engines[0]]
    patterns = pattern_uses(result.sparsity)
    return Page(
        title=f"{TITLES.get(result.dataset, result.dataset)}, pruned and compiled",
        lede=f"The convolutions of {_network(result)} were pruned {result.recipe.compression_rate:g}{TIMES} "
        f"with {len(pattern_counts(result.sparsity))} patterns and balanced connectivity, fine-tuned, and compiled "
        "to native code that executes only what is left.",
        stats=_stats(result, medians),
        columns=("", "Accuracy", "Weights kept", "File", "Latency", "Fastest", "Speed-up"),
        rows=[_row(result, name, medians[name], base) for name in engines],
        bars=[_bar(name, medians[name], base) for name in engines],
        patterns=patterns,
        layers=sparse_layers(result.sparsity, patterns),
        steps=_steps(result),
        machine=machine_room.line(machine),
    )


def _network(result: "DemoResult") -> str:
    if "_" in result.network or " " not in result.network:
        return result.network
    return f"a network of {result.network}"


def _stats(result: "DemoResult", medians: Mapping[str, float]) -> list[Stat]:
    over, name = (BASE, "ONNX Runtime, dense") if BASE in medians else ("pconv dense", "its dense self")
    return [
        Stat(f"{medians[over] / medians[OURS]:.1f}{TIMES}", f"as fast as {name}"),
        Stat(f"{result.compression_rate:.1f}{TIMES}", "fewer weights in the whole network"),
        Stat(
            f"{100 * result.accuracy_pruned:.1f}%",
            f"accuracy on {result.test_images:,} test images; dense {100 * result.accuracy_dense:.1f}%",
        ),
    ]


def _row(result: "DemoResult", name: str, median_ms: float, base_ms: float) -> Row:
    of = {
        "pconv dense": (result.accuracy_dense, 1.0, result.file_bytes_dense),
        OURS: (result.accuracy_pruned, 1 / result.compression_rate, result.file_bytes_pruned),
    }
    accuracy, kept, file_bytes = of.get(name, (None, 1.0, None))
    return Row(
        cells=(
            LABELS[name][0],
            "same weights" if accuracy is None else f"{100 * accuracy:.2f}%",
            f"{100 * kept:.1f}%",
            "-" if file_bytes is None else f"{number(file_bytes / 1e3)} kB",
            f"{number(median_ms)} ms",
            f"{number(min(result.samples_ms[name]))} ms",
            f"{base_ms / median_ms:.2f}{TIMES}",
        ),
        strong=name == OURS,
    )


def _bar(name: str, median_ms: float, base_ms: float) -> Bar:
    label, kind = LABELS[name]
    speed = base_ms / median_ms
    return Bar(label, median_ms, kind, "" if median_ms == base_ms else f"{speed:.1f}{TIMES} as fast")


def _steps(result: "DemoResult") -> list[str]:
    recipe = result.recipe
    images = f"{result.train_images:,} training and {result.test_images:,} test images"
    rate = f"{recipe.compression_rate:g}{TIMES}"
    threads = f"{result.threads} thread{'s' * (result.threads > 1)}"
    excluded = f", without {', '.join(recipe.exclude)}" if recipe.exclude else ""
    worst = max(result.max_rel_err.values())
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items())
    rounds = min(len(samples) for samples in result.samples_ms.values())
    return [
        f"Data: {result.dataset}, {images}.",
        f"Pruning: {recipe.patterns} at {rate}, groups of {recipe.group}{excluded}; "
        "every filter of a layer keeps the same number of kernels.",
        "Fine-tuning held the zeros and took the dense network as its teacher.",
        f"Check: every engine against the network in torch; largest error {worst:.0e} of the largest value.",
        f"Timing: batch of 1, {threads}, engines in turns, at least {rounds:,} samples each; the table gives "
        "the median and the fastest.",
        f"Time spent: {spent}.",
        *result.notes,
    ]
