"""The page of a pruned model: its patterns, what each layer keeps, how its filters balance, what it costs."""

import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError
from pconv.files import make_folder, write_atomically
from pconv.report.accuracy import Series
from pconv.report.gallery import TIMES, pattern_uses, sparse_layers
from pconv.report.page import Stat, fill, percent, require_packages
from pconv.report.pruned_charts import draw_accuracy, draw_layers, save_png
from pconv.sparsity import LayerSparsity, SparsityMap

PAGE, PICTURE = "index.html", "report.png"
ADVICE = "Name another folder with -o."
Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kept:
    """What one layer keeps. `norm` is the share of the dense weights' L2 norm, None without a dense model.

    `few` and `most` are kernels per filter; `histogram` counts the filters at each number in between.
    """

    name: str
    shape: str
    density: float
    norm: float | None
    few: int
    most: int
    kernels: int
    histogram: tuple[int, ...]
    group: int


def kept_layers(sparsity: SparsityMap, dense: Weights | None = None) -> list[Kept]:
    """Describe every pruned layer.

    Raises: ModelError when the dense model's layers are not those of the pruned one.
    """
    return [_kept(name, layer, dense) for name, layer in sparsity.layers.items() if layer.density < 1]


def statistics(sparsity: SparsityMap, dense: Weights | None = None) -> dict[str, Any]:
    """Summarise a pruned model, ready for JSON; with a dense one also `norm_kept`, a pruned layer's and their mean.

    Raises: ModelError when the dense model's layers are not those of the pruned one.
    """
    said = sparsity.statistics()
    norms = {layer.name: layer.norm for layer in kept_layers(sparsity, dense) if layer.norm is not None}
    for name, norm in norms.items():
        said["layers"][name]["norm_kept"] = norm
    return {"norm_kept": _mean(norms.values())} | said if norms else said


def render_pruned(
    name: str, sparsity: SparsityMap, dense: Weights | None = None, series: Sequence[Series] = ()
) -> str:
    """Turn a pruned model into one self-contained HTML text.

    Raises: ModelError when nothing is pruned, or `dense` is another network; PconvError without the packages.
    """
    require_packages()
    layers = _require_some(name, kept_layers(sparsity, dense))
    patterns = pattern_uses(sparsity)
    return fill(
        "pruned.html.j2",
        name=name,
        stats=_stats(sparsity, layers),
        patterns=patterns,
        shares=sparse_layers(sparsity, patterns),
        layers=layers,
        has_norm=dense is not None,
        kept_chart=draw_layers([(layer.name, layer.density, layer.norm) for layer in layers]),
        accuracy_chart=draw_accuracy(series) if series else "",
        series=series,
        times=TIMES,
    )


def write_pruned(
    folder: Path,
    name: str,
    sparsity: SparsityMap,
    dense: Weights | None = None,
    series: Sequence[Series] = (),
) -> Path:
    """Write the page and its drawings as PNG into a folder; return the page's path.

    Raises: as `render_pruned`; BuildError when a file cannot be written.
    """
    html = render_pruned(name, sparsity, dense, series).encode()
    drawn = io.BytesIO()
    rows = [(layer.name, layer.density, layer.norm) for layer in kept_layers(sparsity, dense)]
    save_png(name, pattern_uses(sparsity), rows, series, drawn)
    make_folder(folder, ADVICE)
    write_atomically(folder / PICTURE, drawn.getvalue(), ADVICE)
    return write_atomically(folder / PAGE, html, ADVICE)


def _kept(name: str, layer: LayerSparsity, dense: Weights | None) -> Kept:
    counts = layer.kernels_per_filter
    few, most = int(counts.min()), int(counts.max())
    return Kept(
        name=name,
        shape=f" {TIMES} ".join(map(str, layer.shape)),
        density=layer.density,
        norm=None if dense is None else _norm_kept(name, layer, dense),
        few=few,
        most=most,
        kernels=layer.shape[1],
        histogram=tuple(np.bincount(counts - few).tolist()),
        group=layer.group,
    )


def _norm_kept(name: str, layer: LayerSparsity, dense: Weights) -> float:
    weights = dense.get(name)
    if weights is None or weights.shape != layer.shape:
        there = "has no such layer" if weights is None else f"has it as {list(weights.shape)}"
        raise ModelError(
            f"{name}: the dense model {there}; allowed is the network before pruning, with {list(layer.shape)}."
        )
    energy = np.square(weights, dtype=np.float64)
    total = float(energy.sum())
    return math.sqrt(float(energy[layer.mask()].sum()) / total) if total else 1.0


def _require_some(name: str, layers: list[Kept]) -> list[Kept]:
    if not layers:
        raise ModelError(f"{name}: its weights hold no zeros, so there is nothing to show. Prune it first.")
    return layers


def _stats(sparsity: SparsityMap, layers: Sequence[Kept]) -> list[Stat]:
    rate = sparsity.statistics()["compression_rate"]
    balanced = sum(layer.few == layer.most for layer in layers)
    stats = [
        Stat("-" if rate is None else f"{rate:.2f}{TIMES}", "fewer weights in the whole network"),
        Stat(str(len(layers)), f"pruned layers of {len(sparsity.layers)}"),
        Stat(f"{balanced} of {len(layers)}", "layers keep the same number of kernels in every filter"),
    ]
    norms = [layer.norm for layer in layers if layer.norm is not None]
    if norms:
        stats.append(Stat(percent(_mean(norms)), "of the dense weights' norm kept, mean over layers"))
    return stats


def _mean(norms: Collection[float]) -> float:
    return sum(norms) / len(norms)
