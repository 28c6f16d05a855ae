"""What each layer of a model costs, measured, which micro-kernel runs it, and what keeps it from being faster."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from statistics import median
from typing import Any

import numpy as np

IDLE_LANES = 0.05
_COPIES = ("Copy", "Relayout")
SLOWER = 1.5
"""From this factor on, a layer that is slower than the model expects, against the others, says so."""

_HEAD = (
    "layer",
    "micro-kernel",
    "ms",
    "%",
    "GFLOP/s",
    "dense eq.",
    "peak %",
    "GB/s",
    "weights KiB",
    "act. KiB",
)


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer. `ms` is the time of one sample; GFLOP/s count a multiply-add as two operations.

    `gflops` counts what is executed, `dense_gflops` what the dense layer would have to execute in that time.
    `bytes` are those of the weights and their index, `activation_bytes` those of its first input and its output;
    `gbytes_per_s` is both over the time. `limit` says why it is not faster, `runner_up` what the compiler would
    have taken instead; both are empty where nothing is known.
    """

    name: str
    op: str
    micro_kernel: str
    ms: float
    gflops: float
    dense_gflops: float
    peak_percent: float | None
    bytes: int
    weights_bytes: int
    index_bytes: int
    activation_bytes: int
    gbytes_per_s: float
    reason: str
    runner_up: str
    limit: str
    bound: str
    modelled_cycles: int


@dataclass(frozen=True, slots=True)
class Report:
    """The layers of one model in order of execution, or some of them; print it for a table.

    `ms` is the time of one sample through all layers of the model.
    """

    model: str
    target: str
    threads: int
    ms: float
    layers: tuple[LayerReport, ...]
    peak_gflops: float | None = None

    def only(self, name: str) -> "Report":
        """Return the report of one layer, its parts included, such as Winograd's transforms; copies are nobody's."""
        own = tuple(
            layer
            for layer in self.layers
            if name in (layer.name, layer.name.rpartition(":")[0]) and layer.op not in _COPIES
        )
        return replace(self, layers=own)

    def layer_ms(self, name: str) -> float:
        """Return a layer's time, its parts included."""
        return sum(layer.ms for layer in self.only(name).layers)

    def to_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        rows = [_HEAD, *(_row(layer, self.ms) for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if i > 1 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        for i, layer in reversed(list(enumerate(self.layers, start=2))):
            lines[i + 1 : i + 1] = [f"    {text}" for text in _words(layer)]
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        head = f"{self.model} on {self.target}, {threads}: {self.ms:.3f} ms"
        if self.peak_gflops is not None:
            head += f"; FMA peak {self.peak_gflops:.1f} GFLOP/s"
        return "\n".join([head, *lines])


def make_report(
    manifest: Mapping[str, Any], ns: Sequence[float], threads: int, peak_gflops: float | None
) -> Report:
    """Join the manifest's layers with the nanoseconds that each took for one sample."""
    steps = manifest["layers"]
    ns = share_turns(steps, ns)
    per_cycle = [
        took / step["modelled_cycles"]
        for step, took in zip(steps, ns, strict=True)
        if step.get("modelled_cycles")
    ]
    usual = median(per_cycle) if per_cycle else 0.0
    layers = tuple(_layer(step, took, peak_gflops, usual) for step, took in zip(steps, ns, strict=True))
    name = manifest.get("model", {}).get("name", "model")
    target = manifest.get("target", {}).get("name", "?")
    return Report(name, target, threads, sum(layer.ms for layer in layers), layers, peak_gflops)


def share_turns(steps: Sequence[Mapping[str, Any]], times: Sequence[float]) -> list[float]:
    """Return each step's time; of two that run in turns, only the sum was taken, and each gets its modelled part.

    `steps` are a manifest's layers.
    """
    shared = [float(time) for time in times]
    for i, step in enumerate(steps):
        if step.get("within"):
            cycles = [max(1, steps[j].get("modelled_cycles", 0)) for j in (i - 1, i)]
            both = shared[i - 1] + shared[i]
            shared[i - 1 : i + 1] = [both * part / sum(cycles) for part in cycles]
    return shared


def _layer(step: Mapping[str, Any], took: float, peak_gflops: float | None, usual: float) -> LayerReport:
    per_ns = 1 / took if took else 0.0
    gflops = 2 * step.get("macs", 0) * per_ns
    weights, index = step.get("weights_bytes", 0), step.get("index_bytes", 0)
    activations = _activation_bytes(step)
    return LayerReport(
        name=step["name"],
        op=step["op"],
        micro_kernel=step.get("micro_kernel", ""),
        ms=took / 1e6,
        gflops=gflops,
        dense_gflops=2 * step.get("dense_macs", 0) * per_ns,
        peak_percent=100 * gflops / peak_gflops if peak_gflops else None,
        bytes=weights + index,
        weights_bytes=weights,
        index_bytes=index,
        activation_bytes=activations,
        gbytes_per_s=(weights + index + activations) * per_ns,
        reason=step.get("reason") or "",
        runner_up=step.get("runner_up") or "",
        limit=_limit(step, took, usual),
        bound=step.get("bound") or "",
        modelled_cycles=step.get("modelled_cycles", 0),
    )


def _activation_bytes(step: Mapping[str, Any]) -> int:
    """Count the bytes of a layer's first input and its output, each in the type that it is stored in."""
    stored = {"in_shape": step.get("in", [{}])[0], "out_shape": step.get("out", {})}
    return sum(
        np.dtype(tensor.get("dtype", "float32")).itemsize * prod(shape)
        for key, tensor in stored.items()
        if (shape := step.get(key))
    )


def _limit(step: Mapping[str, Any], took: float, usual: float) -> str:
    """Say what keeps a layer from being faster: by the cost model, the image's shape, and the clock."""
    said = [f"bound by {step['bound']}"] if step.get("bound") else []
    idle = step.get("idle_lanes", 0.0)
    if idle >= IDLE_LANES and step.get("macs"):
        said.append(f"the image leaves {idle:.0%} of the lanes idle")
    if cycles := step.get("modelled_cycles"):
        slower = took / cycles / usual if usual else 0.0
        if slower >= SLOWER:
            said.append(f"{slower:.1f}x slower than modelled, against the other layers")
    return ", ".join(said)


def _row(layer: LayerReport, whole_ms: float) -> tuple[str, ...]:
    share = 100 * layer.ms / whole_ms if whole_ms else 0.0
    rates = (f"{layer.gflops:.1f}", f"{layer.dense_gflops:.1f}") if layer.dense_gflops else ("", "")
    peak = "" if layer.peak_percent is None or not layer.gflops else f"{layer.peak_percent:.0f}"
    return (
        layer.name,
        layer.micro_kernel,
        f"{layer.ms:.3f}",
        f"{share:.1f}",
        *rates,
        peak,
        f"{layer.gbytes_per_s:.1f}",
        f"{layer.bytes / 1024:.1f}",
        f"{layer.activation_bytes / 1024:.0f}",
    )


def _words(layer: LayerReport) -> list[str]:
    """Return the lines under a layer's numbers."""
    said = {"": layer.reason, "why not faster: ": layer.limit, "runner-up: ": layer.runner_up}
    return [f"{begin}{text}" for begin, text in said.items() if text]
