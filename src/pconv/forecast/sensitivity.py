"""How much each rate harms each layer: by its weights, by calibration images, or by measured curves.

All three give numbers that are compared and added over layers, so that a search can trade one for another.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.bench.peers import Peer
from pconv.errors import PconvError
from pconv.forecast.search import Sensitivity
from pconv.forecast.table import Table
from pconv.graph import load
from pconv.graph.probe import probe_model
from pconv.graph.prune import find_layers, layer_weights, save
from pconv.masks import magnitude_masks
from pconv.recipe import LayerInfo, plan_layers

Array = NDArray[Any]
Masks = Mapping[str, NDArray[np.bool_]]
Harm = Callable[[Mapping[str, Array], Masks], Mapping[str, float]]
Event = Callable[[str, float | None], object]


def by_pruning(
    table: Table, path: Path, groups: Sequence[int], harm: Harm, on_event: Event = lambda text, share: None
) -> dict[int, Sensitivity]:
    """Prune the model as every variant of the table does, and ask `harm` what each layer loses.

    Returns: harm by group, layer and rate.
    Raises: PconvError when the table was measured on another network.
    """
    model = load(path)
    weights, infos = layer_weights(model), [layer.info for layer in find_layers(model)]
    check_fits(table, infos)
    found: dict[int, dict[str, dict[float, float]]] = {group: {} for group in groups}
    jobs = [(group, v) for group in groups for v in table.of_group(group) if not v.dense]
    for i, (group, variant) in enumerate(jobs):
        on_event(f"sensitivity at {variant.name}", i / len(jobs))
        rules = plan_layers(table.recipe(variant), infos)
        lost = harm(weights, magnitude_masks(weights, rules))
        for layer in variant.layers:
            if not math.isfinite(lost.get(layer.name, 0.0)):
                raise PconvError(
                    f"what {variant.name} does to layer {layer.name} is no finite number; look for NaN or infinity in "
                    "the weights, or images that the network overflows on."
                )
            found[group].setdefault(layer.name, {}).setdefault(layer.rate, lost.get(layer.name, 0.0))
    return dict(found)


def check_fits(table: Table, infos: Sequence[LayerInfo]) -> None:
    """Check that a table was measured on a network with these layers.

    Raises: PconvError naming the first layer that differs.
    """
    known, measured = {info.name: info for info in infos}, {layer.name for layer in table.dense.layers}
    for name in known.keys() - measured - set(table.left_out):
        raise PconvError(
            f"the table was measured on another network ({table.model}): it lacks layer {name}. Leave --table out to "
            "measure this one."
        )
    for variant in table.variants:
        rules = {} if variant.dense else plan_layers(table.recipe(variant), infos)
        for layer in variant.layers:
            rate = rules[layer.name].compression_rate if layer.name in rules else 1.0
            if layer.name not in known or not math.isclose(rate, layer.rate):
                raise PconvError(
                    f"the table was measured on another network ({table.model}): its layer {layer.name} at "
                    f"{layer.rate:g}x is not in this one. Leave --table out to measure this one."
                )


def check_inputs(table: Table, shapes: Mapping[str, Sequence[int]]) -> None:
    """Check that a table was measured with inputs of these shapes: times of another image size are not this one's.

    Raises: PconvError naming an input that differs.
    """
    for name, measured in table.inputs.items():
        if name in shapes and tuple(shapes[name]) != measured:
            raise PconvError(
                f"the table was measured with {name} of {_by(measured)}; here it is {_by(shapes[name])}. Leave --table "
                "out to measure this size."
            )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def energy_lost(weights: Mapping[str, Array], masks: Masks) -> dict[str, float]:
    """Return the share of each layer's energy (its sum of squares) that the masks remove, 0..1."""
    lost = {}
    for name, mask in masks.items():
        energy = np.square(weights[name], dtype=np.float64)
        lost[name] = float(energy[~mask].sum() / max(energy.sum(), np.finfo(np.float64).tiny))
    return lost


def output_error(path: Path, inputs: Sequence[Mapping[str, Array]], peer: Peer) -> Harm:
    """Make a harm of each layer's output: the energy of its error over that of the output, on given inputs.

    Every layer is pruned alone. The peer, such as ONNX Runtime, runs the network.
    """
    model = load(path)

    def harm(weights: Mapping[str, Array], masks: Masks) -> dict[str, float]:
        probe, names = probe_model(model, masks)
        with TemporaryDirectory(prefix="pconv-") as folder:
            file = Path(folder) / "probe.onnx"
            save(probe, file)
            call = peer.load(file, threads=1)
            sums = np.sum([np.array(call(one), np.float64) for one in inputs], axis=0)
        pairs = zip(names, sums[::2], sums[1::2], strict=True)
        measured = {name: float(error / max(energy, 1e-30)) for name, error, energy in pairs}
        return {name: measured.get(name, 0.0) for name in masks}

    return harm


@dataclass(frozen=True)
class Curves:
    """Harm by layer: (rate, harm) in order of the rate. `path` is where they were read."""

    path: Path
    layers: Mapping[str, Sequence[tuple[float, float]]]


def read_curves(path: Path) -> Curves:
    """Read a measured curve per layer, such as points of accuracy lost with that layer alone pruned.

        {"layers": {"conv1": {"2.25": 0.1, "8": 1.3}, ...}}

    Raises: PconvError when the file cannot be read, or holds something else.
    """
    try:
        layers = json.loads(path.read_text("utf-8"))["layers"]
        curves = {
            name: sorted((float(rate), float(value)) for rate, value in curve.items())
            for name, curve in layers.items()
        }
        if not all(rate > 1 and math.isfinite(harm) for curve in curves.values() for rate, harm in curve):
            raise ValueError("rates are larger than 1, and harm is a finite number")
    except OSError as error:
        raise PconvError(f"{path}: cannot read the curves ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PconvError(
            f"{path}: no curves ({error}); allowed "
            '{"layers": {"conv1": {"2.25": 0.1, "8": 1.3}}}, harm by layer and rate.'
        ) from error
    return Curves(path, curves)


def from_curves(curves: Curves, table: Table, groups: Sequence[int]) -> dict[int, Sensitivity]:
    """Read harm off measured curves, one of which serves all groups.

    Between rates it is interpolated over the logarithm of the rate, from no harm at 1. Beyond a layer's largest
    rate, and for layers without a curve, nothing is known and nothing chosen.

    Raises: PconvError when there are none, or one is of a layer that the model does not have.
    """
    known = [layer.name for layer in table.dense.layers]
    unknown = [name for name in curves.layers if name not in (*known, *table.left_out)]
    if unknown or not curves.layers:
        said = f"its layer {unknown[0]} is none of the model" if unknown else "there is no curve in it"
        raise PconvError(f"{curves.path}: {said}; allowed are {', '.join(known[:4])}, ...")
    return {
        group: {
            name: {option.rate: _interpolate(curves.layers[name], option.rate) for option in options}
            for name, options in table.options(group).items()
            if curves.layers.get(name)
        }
        for group in groups
    }


def _interpolate(curve: Sequence[tuple[float, float]], rate: float) -> float:
    rates, harms = zip((1.0, 0.0), *curve, strict=True)
    if rate > rates[-1]:
        return math.inf
    return float(np.interp(math.log(rate), np.log(rates), harms))
