"""Resize: weighted sums across, then down; of nearest neighbours, a choice among as many vectors.

    y = rows @ (x @ columns')        2 + 2 products for each bilinear output instead of 4, 4 + 4 instead of 16 cubic,
                                     those across only once for all rows that share them

Where the source's blocks are the output's in small, a position of all blocks takes the same vectors: nothing is
gathered. The caller gets dense rows, which are gathered across, and added up down as they lie. Where the lanes' nearest
neighbours lie too far apart, some outputs are zero, or rows are too long, all elements are copied through a table.
Source: ours.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pconv.errors import UnsupportedError
from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.geometry import COPY
from pconv.lower.kernels import ResizeKernel
from pconv.lower.layout import Layout
from pconv.lower.ops.gather import gather, plane_starts
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.windows import Windows, windows
from pconv.targets.dtype import FP32

MOST_WAITING_BYTES = 512 << 10
"""The rows that wait to be added up lie on the stack, of which a caller may have 1 MiB."""


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    if output.planar:
        return [None]
    natural = ctx.natural(node.inputs[0])
    sides = zip((output.rows, output.cols), (output.block_h, output.block_w), _matrices(node), strict=True)
    blocks = product(*(_blocks(*side) for side in sides))
    sources = [replace(natural, rows=output.rows, cols=output.cols, block_h=h, block_w=w) for h, w in blocks]

    def cycles(source: Layout) -> float:
        down, across = _windows(node, source, output)
        rows = source.block_h + down.before + down.after(source.block_h)
        sums = output.block_w * (
            across.taps * min(rows, down.taps * output.block_h) + down.taps * output.block_h
        )
        return sums + (COPY * source.plane_elems if source.geometry != natural.geometry else 0)

    best = min(sources, key=cycles)
    if _nearest(node) and (_some_zero(node) or cycles(best) >= COPY * output.plane_elems):
        return [None]
    down, across = _windows(node, best, output)
    return [best.with_halo(down.before, across.before, down.after(best.block_h), across.after(best.block_w))]


def _blocks(count: int, positions: int, matrix: NDArray[np.float32]) -> list[int]:
    """List how large the source's blocks may be: what an output's block covers, or what all of its image takes."""
    out, source = matrix.shape
    middles = matrix @ np.arange(source)
    covered = max(1, int(positions * (middles[-1] - middles[0]) / max(1, out - 1)))
    return sorted({covered, covered + 1, -(-source // count)})


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    into, out = source.layout, output.layout
    nearest = _nearest(node)
    if nearest and (_some_zero(node) or (not out.planar and _wants(node, ctx, out) == [None])):
        return [_through_table(node, source, output)]
    down, across = _windows(node, into, out)
    waiting = down.taps * out.block_w * FP32.elem_bytes * (1 if out.planar else out.lanes)
    if waiting > MOST_WAITING_BYTES:
        if nearest:
            return [_through_table(node, source, output)]
        most = out.width * MOST_WAITING_BYTES // waiting
        raise UnsupportedError(
            f"{node.name} (Resize): rows of {out.width} columns are unsupported; allowed up to {most}. Resize the "
            "image in parts."
        )
    starts, places = _addresses(into, out)
    top, left = (0, 0) if out.planar else (into.top, into.left)
    taken = places[left + across.first + np.arange(across.taps)[:, None]]
    # of a tap and an x across, of a y and a tap down: a weight for each lane
    parts = (
        np.tile(across.weights.swapaxes(0, 1), out.rows),
        np.repeat(down.weights, out.cols, axis=2),
    )
    data = {
        "table": np.concatenate([taken.ravel(), top + down.first, starts]).astype(np.int32),
        "value": np.concatenate([part.ravel() for part in parts]).astype(out.dtype.stored),
    }
    tasks = chunks(output.channels, output.channels * out.plane_elems)
    kernel = ResizeKernel(into, out, (down.taps, across.taps), nearest)
    work = Work(node.in_shape[1:], node.out_shape[1:])
    params = {"planes": output.channels, "tasks": tasks}
    return [Step(node.name, "Resize", kernel, (source,), output, work, data, params, tasks)]


def _through_table(node: NodeView, source: Tensor, output: Tensor) -> Step:
    """Build the step that copies each output's nearest element, or zero."""
    grid = source.layout.element_table().astype(np.int64).reshape(node.in_shape[2:])
    y, x = (np.where(matrix.any(axis=1), np.argmax(matrix, axis=1), -1) for matrix in _matrices(node))
    inside = (y >= 0)[:, None] & (x >= 0)
    pixels = np.where(inside, grid[y[:, None], x], -1).ravel()
    return gather(node.name, "Resize", source, output, output.layout, plane_starts(source), pixels)


def _matrices(node: NodeView) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return node.weights[1], node.weights[2]


def _nearest(node: NodeView) -> bool:
    """Tell whether every output is one of the source's elements, or zero."""
    return all(
        bool(np.all((matrix == 0) | (matrix == 1)) and np.all(matrix.sum(axis=1) <= 1))
        for matrix in _matrices(node)
    )


def _some_zero(node: NodeView) -> bool:
    """Tell whether some outputs are none of the source's elements."""
    return not all(matrix.any(axis=1).all() for matrix in _matrices(node))


def _windows(node: NodeView, source: Layout, output: Layout) -> tuple[Windows, Windows]:
    """Return the windows down and across."""
    down, across = _matrices(node)
    if output.planar:
        return windows(down, 1, output.height, 0), windows(across, 1, output.width, 0)
    return (
        windows(down, output.rows, output.block_h, source.block_h),
        windows(across, output.cols, output.block_w, source.block_w),
    )


def _addresses(source: Layout, output: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the source's rows of vectors begin, and the vectors of a row; of a dense output, its elements."""
    if output.planar:
        grid = source.element_table().astype(np.int64).reshape(source.height, source.width)
        return grid[:, 0], grid[0] - grid[0, 0]
    rows, cols = source.top + source.block_h + source.bottom, source.row_vectors
    return np.arange(rows) * cols * source.lanes, np.arange(cols) * source.lanes


RESIZE = Operator(_wants, _emit, planar_result=True)
