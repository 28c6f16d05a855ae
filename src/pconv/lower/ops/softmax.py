"""Softmax over channels, on dense NCHW."""

from collections.abc import Sequence

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator
from pconv.lower.kernels import SoftmaxKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [planar(output.height, output.width)]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    kernel = SoftmaxKernel(output.channels, output.layout.height * output.layout.width)
    work = Work(node.in_shape[1:], node.out_shape[1:])
    return [Step(node.name, "Softmax", kernel, tuple(inputs), output, work)]


SOFTMAX = Operator(_wants, _emit, planar_output=True)
