"""What each layer of a model costs, measured, and which micro-kernel runs it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer. `ms` is the time of one sample; GFLOP/s count a multiply-add as two operations.

    `gflops` counts what is executed, `dense_gflops` what the dense layer would have to execute in that time.
    """

    name: str
    op: str
    micro_kernel: str
    ms: float
    gflops: float
    dense_gflops: float
    peak_percent: float | None
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """All layers of one model in order of execution; print it for a table."""

    model: str
    target: str
    threads: int
    layers: tuple[LayerReport, ...]

    @property
    def ms(self) -> float:
        """Return the time of one sample through all layers."""
        return sum(layer.ms for layer in self.layers)

    def to_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps({**asdict(self), "ms": self.ms}, indent=2)

    def __str__(self) -> str:
        rows = [("layer", "op", "micro-kernel", "ms", "%", "GFLOP/s", "dense eq.", "peak %", "KiB", "note")]
        for layer in self.layers:
            share = 100 * layer.ms / self.ms if self.ms else 0.0
            peak = "" if layer.peak_percent is None else f"{layer.peak_percent:.0f}"
            rates = (f"{layer.gflops:.1f}", f"{layer.dense_gflops:.1f}") if layer.dense_gflops else ("", "")
            numbers = (f"{layer.ms:.3f}", f"{share:.1f}", *rates, peak, f"{layer.bytes / 1024:.1f}")
            rows.append((layer.name, layer.op, layer.micro_kernel, *numbers, layer.reason))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if 3 <= i <= 8 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        head = f"{self.model} on {self.target}, {self.threads} threads: {self.ms:.3f} ms"
        return "\n".join([head, *lines])


def make_report(
    manifest: Mapping[str, Any], ns: Sequence[float], threads: int, peak_gflops: float | None
) -> Report:
    """Join the manifest's layers with the nanoseconds that each took for one sample."""
    layers = []
    for layer, took in zip(manifest["layers"], ns, strict=True):
        per_ns = 2 / took if took else 0.0
        gflops = layer.get("macs", 0) * per_ns
        layers.append(
            LayerReport(
                name=layer["name"],
                op=layer["op"],
                micro_kernel=layer.get("micro_kernel", ""),
                ms=took / 1e6,
                gflops=gflops,
                dense_gflops=layer.get("dense_macs", 0) * per_ns,
                peak_percent=100 * gflops / peak_gflops if peak_gflops else None,
                bytes=layer.get("weights_bytes", 0) + layer.get("index_bytes", 0),
                reason=layer.get("reason") or "",
            )
        )
    name = manifest.get("model", {}).get("name", "model")
    return Report(name, manifest.get("target", {}).get("name", "?"), threads, tuple(layers))
