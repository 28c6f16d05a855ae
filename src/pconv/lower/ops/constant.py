"""A constant as a tensor: laid out at compile time, copied once, when the model is opened."""

from collections.abc import Sequence

import numpy as np

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator
from pconv.lower.kernels import ConstantKernel
from pconv.lower.layout import Layout
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.storage import saturate


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return []


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    places = output.layout.source_table()
    planes = node.weights[0].reshape(output.channels, -1)
    values = np.where(places >= 0, planes[:, np.maximum(places, 0)], 0)
    values = saturate(values, ctx.type_of(output.layout).stored).astype(output.layout.dtype.stored)
    work = Work(node.out_shape[1:], node.out_shape[1:], weights_bytes=values.nbytes)
    params = {"planes": output.channels}
    once = ctx.target.lanes > 1  # a device has no steps that run once
    kernel = ConstantKernel(output.layout)
    return [Step(node.name, "Constant", kernel, (), output, work, {"value": values}, params, once=once)]


CONSTANT = Operator(_wants, _emit, planar_result=True)
