"""What a program says of itself: how to feed it, and each step with what it costs and why it runs so."""

from collections.abc import Sequence
from typing import Any

from pconv._version import __version__
from pconv.lower.kernels import ConvKernel
from pconv.lower.plan import Plan, Step, Tensor

FORMAT = 2
ABI = 1


def manifest(plan: Plan, weights_bytes: int) -> dict[str, Any]:
    """Return what a program says of itself."""
    target = plan.target

    def tensors(names: Sequence[str], shapes: tuple[tuple[int, ...], ...]) -> list[dict[str, Any]]:
        return [
            {"name": name, "shape": list(shape), "dtype": "float32"}
            for name, shape in zip(names, shapes, strict=True)
        ]

    return {
        "format": FORMAT,
        "abi": ABI,
        "pconv": __version__,
        "target": {
            "name": target.name,
            "arch": target.arch,
            "os": target.os,
            "features": list(target.features),
            "dtype": target.dtype.name,
        },
        "model": {"name": plan.name},
        "fold": plan.images,
        "inputs": tensors([t.name for t in plan.inputs], plan.input_shapes),
        "outputs": [
            {**tensor, "values": kind}
            for tensor, kind in zip(
                tensors(plan.output_names, plan.output_shapes), plan.output_types, strict=True
            )
        ],
        "arena_bytes": plan.arena_bytes,
        "prepared_bytes": plan.prepared_bytes,
        "weights_bytes": weights_bytes,
        "layers": [_layer(step) for step in plan.steps],
    }


def _layer(step: Step) -> dict[str, Any]:
    work = step.work
    return {
        "name": step.name,
        "op": step.op,
        "micro_kernel": step.kernel.name,
        "in_shape": list(work.in_shape),
        "out_shape": list(work.out_shape),
        "kernel": list(work.kernel),
        "stride": list(work.stride),
        "macs": work.macs,
        "dense_macs": work.dense_macs,
        "weights_bytes": work.weights_bytes,
        "index_bytes": work.index_bytes,
        "patterns": work.patterns,
        "group": work.group,
        "reason": work.reason,
        "runner_up": work.runner_up,
        "bound": work.bound,
        "modelled_cycles": round(work.modelled_cycles),
        "idle_lanes": round(_idle_lanes(step), 4),
        "within": step.within,
        "in": [_stored(tensor) for tensor in step.inputs],
        "out": _stored(step.output),
        "weights": {"dtype": work.weights_stored} if work.weights_stored else None,
    }


def _idle_lanes(step: Step) -> float:
    """Return the share of a step's lanes that compute nothing: surplus ones of blocks, or those of no filter."""
    kernel = step.kernel
    if isinstance(kernel, ConvKernel) and kernel.positions:
        return 1.0 - step.output.channels / (step.params["groups"] * kernel.group)
    return step.output.layout.idle_share


def _stored(tensor: Tensor) -> dict[str, Any]:
    """Say what a tensor's memory holds."""
    return {"dtype": tensor.layout.dtype.stored}
