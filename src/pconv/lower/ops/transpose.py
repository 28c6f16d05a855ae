"""Transpose of anything: the source element of an output element is a sum of one offset for each axis.

y[k, i, j] = x[i, j, k]    =>    plane k of y = source[k * offset] through the table i * offset + j * offset
"""

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import NodeView, Shape
from pconv.lower.context import Context, Operator
from pconv.lower.layout import Layout, planar
from pconv.lower.ops.gather import gather, plane_starts
from pconv.lower.plan import Step, Tensor

Offsets = list[NDArray[np.int64]]


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [None]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source, shape = inputs[0], node.out_shape
    axes = _offsets(source, node.in_shape)
    axes = [axes[axis] for axis in node.ints("perm")]
    if len(shape) == 4:
        layout, planes = output.layout, 2
    else:  # rows: as many elements in a plane as there are planes, or thereabouts
        planes = min(range(1, len(shape) + 1), key=lambda i: prod(shape[:i]) + prod(shape[i:]))
        layout = planar(1, prod(shape[planes:]))
    return [
        gather(node.name, "Transpose", source, output, layout, _sums(axes[:planes]), _sums(axes[planes:]))
    ]


def _offsets(source: Tensor, shape: Shape) -> Offsets:
    """Return for each axis how far each of its positions lies from the first, in elements."""
    if len(shape) == 4:
        elements = source.layout.element_table().astype(np.int64).reshape(shape[2:])
        first = elements[0, 0]
        return [
            np.zeros(1, np.int64),
            plane_starts(source) + first,
            elements[:, 0] - first,
            elements[0] - first,
        ]
    steps = [*accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1)][::-1]
    return [np.arange(size) * step for size, step in zip(shape, steps, strict=True)]


def _sums(axes: Offsets) -> NDArray[np.int64]:
    """Return the offset of each position of several axes, the last one the fastest."""
    total = np.zeros(1, np.int64)
    for axis in axes:
        total = (total[:, None] + axis).ravel()
    return total


TRANSPOSE = Operator(_wants, _emit, planar_result=True)
