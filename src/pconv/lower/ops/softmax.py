"""Softmax along any axis, on dense memory: [before, axis, behind], whatever the shape."""

from collections.abc import Sequence
from math import prod

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.kernels import SoftmaxKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work

POSITIONS = 64
"""Positions whose elements lie side by side, that go together."""
COST = 4
"""Copies of an element that take as long as its softmax."""


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [planar(output.height, output.width)]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    shape, axis = node.out_shape, node.integer("axis")
    outer, length, inner = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    kernel = SoftmaxKernel(outer, length, inner, ctx.target.lanes_f32)
    units = outer * -(-inner // POSITIONS)
    tasks = chunks(units, COST * prod(shape))
    work = Work(node.in_shape[1:], node.out_shape[1:])
    params = {"planes": units, "tasks": tasks}
    return [Step(node.name, "Softmax", kernel, tuple(inputs), output, work, params=params, tasks=tasks)]


SOFTMAX = Operator(_wants, _emit, planar_output=True, bare_inputs=True)
