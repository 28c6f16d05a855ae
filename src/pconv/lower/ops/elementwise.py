"""Element-wise operators: tensors of one shape, or one that lacks planes or pixels; constants per channel."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, activation_of, chunks
from pconv.lower.kernels import ElementwiseKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.storage import saturate

KINDS = {"Activation": "copy"}


def _other(node: NodeView) -> str:
    """Say what the second tensor has a value for: see `ElementwiseKernel`."""
    shape = node.shapes[node.tensors[-1]]
    if shape == node.out_shape:
        return ""
    if shape[2:] == node.out_shape[2:]:
        return "pixel"
    return "plane" if shape[1] == node.out_shape[1] else "one"


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    _, *others = node.tensors
    whole = _other(node) in ("", "pixel")
    return [output, *(output if whole else _one_each(name, ctx, output) for name in others)]


def _one_each(name: str, ctx: Context, output: Layout) -> Layout:
    """Return the layout of a value for each plane: of the output's type, as both are operands of one step."""
    natural = ctx.natural(name, output.images)
    return natural if natural.dtype == output.dtype else planar(1, 1)


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    names = {"Affine": ("scale", "shift"), "PRelu": ("scale",)}.get(node.op, ())
    planes = output.channels
    data: dict[str, NDArray[np.float32]] = {
        name: saturate(
            np.repeat(node.weights[i], planes // node.weights[i].size), ctx.type_of(output.layout).computed
        )
        for i, name in enumerate(names, 1)
    }
    kernel = ElementwiseKernel(
        KINDS.get(node.op, node.op.lower()),  # type: ignore[arg-type]
        tuple(t.layout for t in inputs),
        output.layout,
        activation_of(node),
        _other(node),  # type: ignore[arg-type]
    )
    tasks = chunks(planes, planes * output.layout.plane_elems)
    work = Work(node.in_shape[1:], node.out_shape[1:])
    params = {"planes": planes, "tasks": tasks}
    return [Step(node.name, node.op, kernel, tuple(inputs), output, work, data, params, tasks)]


ELEMENTWISE = Operator(_wants, _emit, planar_through=True)
