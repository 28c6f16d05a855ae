"""Element-wise operators on tensors of one geometry, and scale and shift per channel."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pconv.errors import UnsupportedError
from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, activation_of, chunks
from pconv.lower.kernels import ElementwiseKernel
from pconv.lower.layout import Layout
from pconv.lower.plan import Step, Tensor, Work


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    for name in node.tensors:
        if node.shapes[name] != node.out_shape:
            raise UnsupportedError(
                f"{node.name} ({node.op}): shapes {node.shapes[name]} and {node.out_shape} need broadcasting, which is "
                "unsupported between computed tensors; allowed equal shapes or a constant per channel."
            )
    return [output] * len(node.tensors)


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    data: dict[str, NDArray[np.float32]] = {}
    op = {"Add": "add", "Sub": "sub", "Mul": "mul", "Activation": "copy", "Affine": "affine"}[node.op]
    if node.op == "Affine":
        data = {"scale": node.weights[1], "shift": node.weights[2]}
    kernel = ElementwiseKernel(op, tuple(t.layout for t in inputs), output.layout, activation_of(node))  # type: ignore[arg-type]
    elems = output.channels * output.layout.plane_elems
    tasks = chunks(output.channels, elems)
    work = Work(node.in_shape[1:], node.out_shape[1:])
    params = {"planes": output.channels, "tasks": tasks}
    return [Step(node.name, node.op, kernel, tuple(inputs), output, work, data, params, tasks)]


ELEMENTWISE = Operator(_wants, _emit)
