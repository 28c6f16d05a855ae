"""Plan -> Program."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from pconv._version import __version__
from pconv.codegen.c.model import render_kernel, render_model
from pconv.codegen.program import Program
from pconv.lower.plan import Plan, Step, Tensor

ALIGN = 64
FORMAT = 2
ABI = 1


def generate(plan: Plan) -> Program:
    """Print a plan as C (OpenCL C for a GPU), with its constants in one blob and its manifest."""
    if plan.target.arch == "opencl":
        from pconv.codegen import opencl

        return opencl.generate(plan)
    blob, places = pack_constants([step.data for step in plan.steps])
    sources = {"model.c": render_model(plan, places)}
    for step in plan.steps:
        file = f"{step.kernel.name}.c"
        if file not in sources:
            sources[file] = render_kernel(step)
    return Program(sources, blob, manifest(plan, len(blob)), plan.target)


def pack_constants(
    constants: Sequence[Mapping[str, NDArray[Any]]],
) -> tuple[bytearray, dict[tuple[int, str], int]]:
    """Lay the constants of all steps out, 64-byte aligned; equal tables are stored once.

    Returns: the bytes, and the offset of each constant by (step, name).
    """
    places: dict[tuple[int, str], int] = {}
    seen: dict[tuple[str, bytes], int] = {}
    parts: list[tuple[int, bytes]] = []
    end = 0
    for i, step in enumerate(constants):
        for name, array in step.items():
            data = array.tobytes()
            key = (str(array.dtype), data) if name == "table" else None
            if key is not None and key in seen:
                places[i, name] = seen[key]
                continue
            places[i, name] = end
            if key is not None:
                seen[key] = end
            parts.append((end, data))
            end += -(-len(data) // ALIGN) * ALIGN
    blob = bytearray(end)
    for offset, data in parts:
        blob[offset : offset + len(data)] = data
    return blob, places


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
        "inputs": tensors([t.name for t in plan.inputs], plan.input_shapes),
        "outputs": tensors(plan.output_names, plan.output_shapes),
        "arena_bytes": plan.arena_bytes,
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
        "idle_lanes": round(step.output.layout.idle_share, 4),
        "in": [_stored(tensor) for tensor in step.inputs],
        "out": _stored(step.output),
        "weights": {"dtype": work.weights_stored, "scales": work.weight_scales}
        if work.weights_stored
        else None,
    }


def _stored(tensor: Tensor) -> dict[str, Any]:
    """Say what a tensor's memory holds: a value is `scale` times that, or just that."""
    return {"dtype": tensor.layout.dtype.stored, "scale": tensor.scale}
