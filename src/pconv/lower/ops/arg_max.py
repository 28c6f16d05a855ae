"""The channel in which an image is largest, position by position: planes are read where they lie."""

from collections.abc import Sequence
from dataclasses import replace

from pconv.errors import UnsupportedError
from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.kernels import ArgMaxKernel
from pconv.lower.layout import Layout
from pconv.lower.plan import Step, Tensor, Work

_MOST_HALVES = 2048
"""Whole numbers that halves count up to."""


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [replace(output, top=0, left=0, bottom=0, right=0)]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    (source,), layout = inputs, output.layout
    dtype = ctx.target.dtype if ctx.target.lanes == 1 else layout.dtype
    if dtype.stored == "float16" and source.channels > _MOST_HALVES:
        raise UnsupportedError(
            f"{node.name} (ArgMax): it is over {source.channels} positions, and halves count up to {_MOST_HALVES}. "
            "Compile the model with --dtype fp32."
        )
    halo = layout.top or layout.left or layout.bottom or layout.right
    tasks = 1 if halo else chunks(layout.block_h, source.channels * layout.plane_elems)
    params = {"planes": source.channels, "tasks": tasks}
    kernel = ArgMaxKernel(source.layout, layout)
    work = Work(node.in_shape[1:], node.out_shape[1:])
    return [Step(node.name, node.op, kernel, (source,), output, work, params=params, tasks=tasks)]


ARG_MAX = Operator(_wants, _emit)
