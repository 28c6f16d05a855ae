"""Plan -> Program for OpenCL: one file of kernels, the constants, and the launches in the manifest.

A launch is a line of data, so that any host (Python, C) runs a model without knowing what it computes:

    {"kernel", "in", "add", "out": [space, first element], "args": [integers], "global": [x, y], "local": [x, 1],
     "shared": whether `local` is fixed; else a device may halve it}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pconv.codegen.constants import pack_constants
from pconv.codegen.manifest import manifest
from pconv.codegen.opencl import conv, gemm, matmul, planes
from pconv.codegen.opencl.frame import Text, render_kernel
from pconv.codegen.opencl.numeric import NUMERICS, Numeric
from pconv.codegen.program import Program
from pconv.lower import kernels as k
from pconv.lower.plan import Plan, Step, Tensor
from pconv.targets import Target

SOURCE = "model.cl"
FLOAT_ARENA_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A step's kernel, printed."""

    name: str
    text: Text
    source: str


def generate(plan: Plan) -> Program:
    """Print a plan as OpenCL C, in the numbers that its target says."""
    numeric = NUMERICS[plan.target.dtype]
    printed = [_print(step, numeric) for step in plan.steps]
    blob, places = pack_constants([step.data for step in plan.steps])
    sources = {kernel.name: kernel.source for kernel in printed}
    said = manifest(plan, len(blob))
    said["opencl"] = {
        "numeric": numeric.name,
        "elem_bytes": numeric.dtype.elem_bytes,
        "arena_elems": plan.arena_bytes // FLOAT_ARENA_BYTES,
        "launches": [
            _launch(step, kernel, offsets)
            for step, kernel, offsets in zip(plan.steps, printed, places, strict=True)
        ],
    }
    for layer, kernel in zip(said["layers"], printed, strict=True):
        layer["micro_kernel"] = kernel.name
        for tensor in (*layer["in"], layer["out"]):
            tensor["dtype"] = numeric.dtype.stored
    return Program({SOURCE: numeric.head + "\n" + "\n".join(sources.values())}, blob, said, plan.target)


def render_step(step: Step, target: Target) -> str:
    """Return the OpenCL C of one step's kernel."""
    return _print(step, NUMERICS[target.dtype]).source


def _print(step: Step, numeric: Numeric) -> _Kernel:
    kernel = step.kernel
    name = f"{numeric.name}_{kernel.name.partition('_')[2]}"
    text = _text(step, name)
    said = conv.comment(kernel) if isinstance(kernel, k.ConvKernel) else name
    return _Kernel(name, text, render_kernel(name, said, text))


def _text(step: Step, name: str) -> Text:
    kernel, params = step.kernel, step.params
    match kernel:
        case k.ConvKernel():
            return conv.text(kernel, name, params["groups"])
        case k.GemmKernel():
            return gemm.text(kernel, params["units"])
        case k.GatherKernel():
            return planes.gather(kernel, params["planes"])
        case k.PoolKernel():
            return planes.pool(kernel, params["planes"])
        case k.PoolTableKernel():
            return planes.pool_table(kernel, params["planes"])
        case k.ResizeKernel():
            return planes.resize(kernel, params["planes"])
        case k.ElementwiseKernel():
            return planes.elementwise(kernel, params["planes"])
        case k.ConstantKernel():
            return planes.constant_planes(kernel, params["planes"])
        case k.GlobalAverageKernel():
            return planes.global_average(kernel, params["planes"])
        case k.MatMulKernel():
            return matmul.text(kernel, params["planes"])
        case k.SoftmaxKernel():
            return planes.softmax(kernel)
        case k.ArgMaxKernel():
            return planes.arg_max(kernel)
        case _:
            raise AssertionError("a device's planes have no lanes")


def _launch(step: Step, kernel: _Kernel, places: Mapping[str, int]) -> dict[str, Any]:
    text = kernel.text
    inputs = [_address(tensor) for tensor in step.inputs or (step.output,)]
    return {
        "kernel": kernel.name,
        "in": inputs[0],
        "add": inputs[1] if len(inputs) > 1 else inputs[0],
        "out": _address(step.output),
        "args": [
            places[name.removesuffix("_at")] if name.endswith("_at") else step.params[name]
            for name in text.arguments
        ],
        "global": [-(-text.items // text.local) * text.local, text.rows],
        "local": [text.local, 1],
        "shared": text.shared,
    }


def _address(tensor: Tensor) -> list[Any]:
    if tensor.space == "arena":
        return ["arena", tensor.offset // FLOAT_ARENA_BYTES]
    return [f"{tensor.space}{tensor.offset}", 0]
