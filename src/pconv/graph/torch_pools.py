"""Adaptive pools of torch as few ONNX operators: what torch.onnx.export translates them by.

The exporter's own way gathers the windows of a pool whose output does not divide its input, or knows no way.

    average:  y = (columns @ (rows @ x)')', constant matrices    where it divides: AveragePool
    maximum:  slices, their maxima, joined, axis by axis         where it divides: MaxPool

To one value a channel it is a global pool, which fits an image of any size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

Windows = list[tuple[int, int]]
"""Begin and end of each window along one axis."""


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Make the table of translations for torch.onnx.export."""
    import torch

    aten = torch.ops.aten
    return {
        aten.adaptive_avg_pool1d.default: average,
        aten.adaptive_avg_pool2d.default: average,
        aten._adaptive_avg_pool2d.default: average,
        aten.adaptive_max_pool1d.default: maximum,
        aten.adaptive_max_pool2d.default: maximum,
    }


def average(x: Any, output_size: Sequence[int]) -> Any:
    """Translate an average over windows of the last axes.

    Shapes: x [..., h, w] or [..., w], output_size the same axes.
    """
    op = _operators()
    axes = _axes(x, output_size)
    if _global(x, axes):
        return op.GlobalAveragePool(x)
    if window := _even(x, axes):
        return op.AveragePool(x, kernel_shape=window, strides=window)
    dtype, rank = x.dtype.numpy(), len(x.shape)
    for axis, windows in axes.items():
        size = x.shape[axis]
        if len(windows) == size:
            continue
        weights = np.zeros((len(windows), size), dtype)
        for row, (begin, end) in zip(weights, windows, strict=True):
            row[begin:end] = 1 / (end - begin)
        matrix = op.Constant(value=ir.tensor(weights))
        # on the left always: a constant on the right is a linear layer's weight, which may be pruned
        mixed = _swapped(op, op.MatMul(matrix, _swapped(op, x, axis, rank)), axis, rank)
        x = _shaped(mixed, x, axis, len(windows))
    return op.Identity(x)


def maximum(x: Any, output_size: Sequence[int]) -> tuple[Any, Any]:
    """Translate a maximum over windows; its indices are an ArgMax, which pconv refuses where it is used."""
    op = _operators()
    axes = _axes(x, output_size)
    indices = op.ArgMax(x)
    if _global(x, axes):
        return op.GlobalMaxPool(x), indices
    if window := _even(x, axes):
        return op.MaxPool(x, kernel_shape=window, strides=window)[0], indices
    for axis, windows in axes.items():
        if len(windows) == x.shape[axis]:
            continue
        parts = [op.Slice(x, *(_integers(op, it) for it in (begin, end, axis))) for begin, end in windows]
        tops = [op.ReduceMax(part, _integers(op, axis), keepdims=1) for part in parts]
        x = _shaped(op.Concat(*tops, axis=axis), x, axis, len(windows))
    return op.Identity(x), indices


def _swapped(op: Any, x: Any, axis: int, rank: int) -> Any:
    """Exchange an axis with the last but one, which a matrix on the left works on."""
    if axis == rank - 2:
        return x
    perm = list(range(rank))
    perm[axis], perm[-2] = perm[-2], perm[axis]
    return op.Transpose(x, perm=perm)


def _operators() -> Any:
    from onnxscript import opset18

    return opset18


def _axes(x: Any, output_size: Sequence[int]) -> dict[int, Windows]:
    """Give the windows by axis: from floor(i * size / count) to ceil((i + 1) * size / count), as torch has them."""
    first = len(x.shape) - len(output_size)
    axes = {}
    for axis, count in enumerate(output_size, first):
        size = x.shape[axis]
        axes[axis] = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    return axes


def _global(x: Any, axes: dict[int, Windows]) -> bool:
    """Tell whether one value is left of each channel of a batch."""
    return len(x.shape) == len(axes) + 2 and all(len(windows) == 1 for windows in axes.values())


def _even(x: Any, axes: dict[int, Windows]) -> list[int] | None:
    """Give the window's sizes where all are alike, so that a plain pool does the same; None else."""
    sizes = [x.shape[axis] for axis in axes]
    counts = [len(windows) for windows in axes.values()]
    if len(x.shape) < len(axes) + 2 or sizes == counts:
        return None
    if any(size % count for size, count in zip(sizes, counts, strict=True)):
        return None
    return [size // count for size, count in zip(sizes, counts, strict=True)]


def _shaped(made: Any, x: Any, axis: int, size: int) -> Any:
    """Note the shape and type of what was made, for the next step."""
    made.shape = ir.Shape([size if i == axis else dim for i, dim in enumerate(x.shape)])
    made.dtype = x.dtype
    return made


def _integers(op: Any, value: int) -> Any:
    return op.Constant(value_ints=[value])
