"""Resize: nearest neighbours are copied through a table, all else is a weighted sum of a few source elements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.kernels import PoolTableKernel
from pconv.lower.layout import Layout
from pconv.lower.ops.gather import gather, plane_starts
from pconv.lower.plan import Step, Tensor, Work

Taps = tuple[NDArray[np.int64], NDArray[np.float32]]


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [None]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    (rows, down), (cols, across) = _taps(node.weights[1]), _taps(node.weights[2])
    grid = source.layout.element_table().astype(np.int64).reshape(node.in_shape[2:])
    # [tap of the row, tap of the column, y, x], and then a list of taps for each output pixel
    pixels = grid[rows.T[:, None, :, None], cols.T[None, :, None, :]].reshape(-1, *node.out_shape[2:])
    weights = (down.T[:, None, :, None] * across.T[None, :, None, :]).reshape(pixels.shape)
    if len(pixels) == 1 and np.all(weights == 1):
        base = plane_starts(source)
        return [gather(node.name, "Resize", source, output, output.layout, base, pixels[0].ravel())]
    places = output.layout.source_table()
    flat, at, inside = (len(pixels), -1), np.maximum(places, 0), places >= 0
    table = np.where(inside, pixels.reshape(flat)[:, at], -1).astype(np.int32)
    scale = np.where(inside, weights.reshape(flat)[:, at], 0).astype(np.float32)
    kernel = PoolTableKernel(source.layout, output.layout, "weighted", len(pixels))
    tasks = chunks(output.channels, output.channels * table.size)
    work = Work(node.in_shape[1:], node.out_shape[1:])
    params = {"planes": output.channels, "tasks": tasks}
    data = {"table": table, "scale": scale}
    return [Step(node.name, "Resize", kernel, (source,), output, work, data, params, tasks)]


def _taps(matrix: NDArray[np.float32]) -> Taps:
    """Return for each output the inputs that count and their weights; where they are few, others of weight 0."""
    count = max(1, int(np.count_nonzero(matrix, axis=1).max()))
    inputs = np.argsort(matrix == 0, axis=1, kind="stable")[:, :count]
    return inputs, np.take_along_axis(matrix, inputs, axis=1)


RESIZE = Operator(_wants, _emit)
