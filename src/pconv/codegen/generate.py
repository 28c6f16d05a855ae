"""Plans of one model -> Program."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from pconv._version import __version__
from pconv.codegen.c.model import render_kernel, render_model, render_plan
from pconv.codegen.program import Program, Variant, manifest_lines
from pconv.lower.plan import Plan, Step, Tensor

ALIGN = 64
FORMAT = 2
ABI = 1


def generate(plan: Plan, *fallbacks: Plan) -> Program:
    """Print a plan as C (OpenCL C for a GPU), with its constants in one blob and its manifest.

    `fallbacks` are the same model for CPUs that lack what the plan's target needs, the most demanding first. A
    micro-kernel of several plans is compiled once, for the least demanding of them.
    """
    if plan.target.arch == "opencl":
        from pconv.codegen import opencl

        return opencl.generate(plan)
    plans = (plan, *fallbacks)
    blob, places = pack_constants([step.data for each in plans for step in each.all_steps])
    rest = iter(places)
    offsets = [list(islice(rest, len(each.all_steps))) for each in plans]
    names = ["model", *(f"pconv_plan_{i}" for i in range(1, len(plans)))]
    variants: list[Variant] = []
    done: set[str] = set()
    for i, each in reversed(list(enumerate(plans))):
        said = manifest(each, len(blob)) | {"variants": [p.target.name for p in plans]}
        lines = manifest_lines(said)
        if i:
            text = render_plan(each, offsets[i], lines, names[i])
        else:
            text = render_model(plan, offsets[0], lines, names[1:])
        kernels = {kernel.name: kernel for step in each.all_steps for kernel in step.kernels}
        sources = {f"{names[i]}.c": text}
        sources |= {f"{name}.c": render_kernel(k) for name, k in kernels.items() if name not in done}
        done |= kernels.keys()
        variants.insert(0, Variant(sources, said, each.target))
    first = variants[0]
    return Program(first.sources, blob, first.manifest, first.target, tuple(variants[1:]))


def pack_constants(
    constants: Sequence[Mapping[str, NDArray[Any]]],
) -> tuple[bytearray, list[dict[str, int]]]:
    """Lay the constants of all steps out, 64-byte aligned; what is equal is stored once.

    Behind the last there is room: fetching ahead reads a list's entry past the end, though not what it points to.

    Returns: the bytes, and for each step the offset of each constant by its name.
    """
    places: list[dict[str, int]] = []
    seen: dict[bytes, int] = {}
    end = 0
    for step in constants:
        places.append({})
        for name, array in step.items():
            data = array.tobytes()
            if data not in seen:
                seen[data] = end
                end += -(-len(data) // ALIGN) * ALIGN
            places[-1][name] = seen[data]
    blob = bytearray(end + ALIGN)
    for data, offset in seen.items():
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
