"""Pooling: lane by lane where the blocks fit, through a table everywhere else."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.kernels import GlobalAverageKernel, PoolKernel, PoolTableKernel
from pconv.lower.layout import Layout, lane_source
from pconv.lower.plan import Step, Tensor, Work

Kind = Literal["max", "average"]


def _lane_layout(node: NodeView, ctx: Context, output: Layout) -> Layout | None:
    """Return the input layout for the lane-by-lane kernel, None where it cannot serve.

    Max pooling in lanes reads the zeros of the halo as values, which is right where there is no padding or nothing
    is negative; an average in lanes divides by the whole window.
    """
    size, stride, pads = node.ints("kernel_shape"), node.ints("strides"), node.ints("pads")
    source = ctx.natural(node.inputs[0], output.images)
    want = lane_source(output, node.in_shape[2:], size, stride, pads)
    if node.op == "MaxPool":
        zeros_fit = not any(pads) or ctx.nonnegative(node.inputs[0])
    else:
        zeros_fit = not any(pads) or bool(node.integer("count_include_pad"))
    reach = [(o - 1) * s + k for o, s, k in zip(node.out_shape[2:], stride, size, strict=True)]
    limit = [e + pads[i] + pads[i + 2] for i, e in enumerate(node.in_shape[2:])]
    inside = all(r <= m for r, m in zip(reach, limit, strict=True))
    return want if want.geometry == source.geometry and zeros_fit and inside else None


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [None if node.op == "GlobalAveragePool" else _lane_layout(node, ctx, output)]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    kind: Kind = "max" if node.op == "MaxPool" else "average"
    if node.op == "GlobalAveragePool":
        layout, added = source.layout, bool(node.integer("sum"))
        # A halo of the output may repeat the element in other lanes.
        once = int((output.layout.source_table() >= 0).sum()) == output.layout.images
        dense = layout.plane_elems == layout.height * layout.width
        if once and (ctx.target.lanes == 1 or not layout.planar or dense):
            params, work, tasks = _sizes(source, output, node.in_shape[2:], (1, 1))
            mean = GlobalAverageKernel(source.layout, output.layout, added)
            return [Step(node.name, node.op, mean, (source,), output, work, params=params, tasks=tasks)]
        return [pool_through_table(node.name, kind, source, output, node.in_shape[2:], (1, 1), added=added)]
    size, stride, pads = node.ints("kernel_shape"), node.ints("strides"), node.ints("pads")
    if _lane_layout(node, ctx, output.layout) is None:
        include = bool(node.attrs.get("count_include_pad", 0))
        return [pool_through_table(node.name, kind, source, output, size, stride, pads, include)]
    kernel = PoolKernel(
        source.layout, output.layout, kind, (size[0], size[1]), (stride[0], stride[1]), (pads[0], pads[1])
    )
    params, work, tasks = _sizes(source, output, size, stride)
    return [Step(node.name, node.op, kernel, (source,), output, work, params=params, tasks=tasks)]


def pool_through_table(
    name: str,
    kind: Kind,
    source: Tensor,
    output: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int] = (0, 0, 0, 0),
    include_pad: bool = False,
    added: bool = False,
) -> Step:
    """Build the step that pools between any two layouts; averages are sums where they are `added` alone."""
    table, scale = _window_table(source.layout, output.layout, size, stride, pads, include_pad)
    if added:
        scale = np.sign(scale)
    if kind == "max":  # what is outside stands for nothing, as an element inside that comes twice does
        table = np.where(table < 0, np.maximum(table.max(axis=0), 0), table)
    kernel = PoolTableKernel(source.layout, output.layout, kind, table.shape[0])
    params, work, tasks = _sizes(source, output, size, stride)
    op = "MaxPool" if kind == "max" else "AveragePool"
    return Step(name, op, kernel, (source,), output, work, {"table": table, "scale": scale}, params, tasks)


def _sizes(
    source: Tensor, output: Tensor, size: Sequence[int], stride: Sequence[int]
) -> tuple[dict[str, int], Work, int]:
    into, out = source.layout, output.layout
    tasks = chunks(output.channels, output.channels * out.height * out.width * int(np.prod(size)))
    work = Work(
        (source.channels, into.height, into.width),
        (output.channels, out.height, out.width),
        tuple(size),
        tuple(stride),
    )
    return {"planes": output.channels, "tasks": tasks}, work, tasks


def _window_table(
    source: Layout,
    output: Layout,
    size: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    include_pad: bool,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """List for each place of the window the source element of every output element, -1 where it is outside.

    `scale` is 1 over the number of elements that count, 0 for the halo.
    """
    grid = source.element_table().reshape(source.images, source.height, source.width)
    places = output.source_table()
    image, oy, ox = np.unravel_index(np.maximum(places, 0), (output.images, output.height, output.width))
    windows = []
    counted = np.zeros(places.size, np.float32)
    for ky in range(size[0]):
        for kx in range(size[1]):
            y, x = oy * stride[0] + ky - pads[0], ox * stride[1] + kx - pads[1]
            inside = (y >= 0) & (y < source.height) & (x >= 0) & (x < source.width) & (places >= 0)
            element = grid[image, np.clip(y, 0, source.height - 1), np.clip(x, 0, source.width - 1)]
            windows.append(np.where(inside, element, -1))
            padded = (y < source.height + pads[2]) & (x < source.width + pads[3])
            counted += padded if include_pad else inside
    scale = np.where(places >= 0, 1.0 / np.maximum(counted, 1), 0.0).astype(np.float32)
    return np.stack(windows).astype(np.int32), scale


POOL = Operator(_wants, _emit)
