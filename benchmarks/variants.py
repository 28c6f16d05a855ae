"""What the scripts here measure with: a network's variants as ONNX files, and every convolution's share of the peak."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pconv import Recipe, compile, zoo
from pconv.bench import peak
from pconv.graph import load
from pconv.graph.prune import layer_weights, prune_model, save
from pconv.runtime import Engine

REPORT_RUNS = 15


@dataclass(frozen=True)
class Pruning:
    """Say how a network is pruned: the rate of its 3x3 layers, a recipe's other settings, and the group."""

    rate: float
    group: int
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One set of weights of a network. `rate` is what the recipe asked for; where it is dense, 1, and `group` is 0."""

    path: Path
    rate: float
    group: int
    compression: float
    layer_elems: int

    @property
    def labels(self) -> dict[str, Any]:
        """Say which one it is, as it stands in the results."""
        return {"compression": self.compression, "group": self.group}

    @property
    def name(self) -> str:
        """Say which one it is to a person."""
        return f"pruned to {self.rate:g}x in groups of {self.group}" if self.group else "dense"


def make_variants(
    name: str, prunings: Iterable[Pruning], folder: Path, shape: tuple[int, int, int, int] | None = None
) -> list[Variant]:
    """Write a network as ONNX files, for inputs of its own shape or `shape`: dense, then pruned by magnitude."""
    dense = zoo.to_onnx(name, folder / f"{name}-dense.onnx", shape=shape)
    model = load(dense)
    elems = sum(weight.size for weight in layer_weights(model).values())
    variants = [Variant(dense, 1.0, 0, 1.0, elems)]
    for pruning in prunings:
        path = folder / f"{name}-{pruning.rate:g}x-g{pruning.group}.onnx"
        recipe = Recipe(compression_rate=pruning.rate, group=pruning.group, **pruning.settings)
        pruned, sparsity = prune_model(model, recipe)
        save(pruned, path)
        rate = float(sparsity.statistics()["compression_rate"])
        variants.append(Variant(path, pruning.rate, pruning.group, rate, elems))
    return variants


def measure_layers(variant: Variant) -> dict[str, Any]:
    """Measure every convolution on one thread, as a share of the FMA peak measured before and after.

    The shares count executed multiply-adds only, and are over time: a layer weighs what it takes. Winograd's way
    executes fewer than the kept weights have, which "kept" counts.
    """
    kept = {
        name: float(np.count_nonzero(weight) / weight.size)
        for name, weight in layer_weights(load(variant.path)).items()
    }
    with compile(variant.path, threads=1) as engine:
        peaks = [peak.measure()]
        convolutions = _convolutions(engine)
        peaks.append(peak.measure())
    best = max(peaks)
    for layer in convolutions:
        layer["peak_percent"] = 100 * layer["gflops"] / best
        layer["kept_gflops"] = layer["dense_gflops"] * kept[layer["name"]]
    sparse = [layer for layer in convolutions if kept[layer["name"]] < 1]
    sparse_3x3 = [layer for layer in sparse if layer["kernel"] == [3, 3]]
    return variant.labels | {
        "threads": 1,
        "fma_peaks_gflops": peaks,
        "peak_percent": _share(convolutions, best),
        "sparse_peak_percent": _share(sparse, best),
        "sparse_3x3_peak_percent": _share(sparse_3x3, best),
        "sparse_3x3_kept_percent": _share(sparse_3x3, best, "kept_gflops"),
        "convolutions": convolutions,
    }


def work(engine: Engine) -> dict[str, int]:
    """Count what one sample takes. Units: multiply-adds, executed and of the dense network."""
    layers = engine.manifest["layers"]
    return {key: sum(layer.get(key, 0) for layer in layers) for key in ("macs", "dense_macs")}


def _convolutions(engine: Engine) -> list[dict[str, Any]]:
    """List the convolutions; their times and rates are those of all their steps, transforms included."""
    report = engine.report(runs=REPORT_RUNS)
    kernels = {
        layer["name"]: list(layer["kernel"]) for layer in engine.manifest["layers"] if layer.get("kernel")
    }
    return [
        {
            "name": layer.name,
            "kernel": kernels[layer.name],
            "micro_kernel": layer.micro_kernel,
            "ms": report.layer_ms(layer.name),
            "gflops": layer.gflops * layer.ms / report.layer_ms(layer.name),
            "dense_gflops": layer.dense_gflops * layer.ms / report.layer_ms(layer.name),
            "reason": layer.reason,
        }
        for layer in report.layers
        if layer.op == "Conv"
    ]


def _share(
    convolutions: Sequence[Mapping[str, Any]], peak_gflops: float, counted: str = "gflops"
) -> float | None:
    took = sum(layer["ms"] for layer in convolutions)
    return 100 * sum(x["ms"] * x[counted] for x in convolutions) / took / peak_gflops if took else None
