"""Choose in which geometry a convolution writes, where its readers want others than the natural one.

    conv -> [28x28 as 4x4 blocks] -> copy -> [28x28 as 2x8 blocks] -> depthwise, stride 2
    conv -> [28x28 as 2x8 blocks] ----------------------------------> depthwise, stride 2

The second way computes some more surplus lanes, and may move the copy to the convolution's own input, where the
planes are fewer. Costs in cycles: the multiply-adds of all vectors, and the elements that copies write. Source: ours.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Wants
from pconv.lower.layout import Layout

Geometries = Mapping[str, set[tuple[int, ...]]]

COPY = 1.6
"""Cycles for each element that a relayout writes."""
CONVOLVE = 1.4
"""Cycles of a convolution over those of its multiply-adds."""


def cheapest(
    node: NodeView, ctx: Context, wants: Wants, natural: Layout, wanted: Sequence[Layout], known: Geometries
) -> Layout:
    """Return which layout a convolution best writes: its natural one, or one in blocks that its readers want.

    `known` holds the geometries in which its inputs are there or wanted: a copy to one of those is paid for already.
    """

    def cost(layout: Layout) -> float:
        vectors = layout.block_h * layout.block_w
        cycles = CONVOLVE * np.count_nonzero(node.weights[1]) * vectors / ctx.target.fma_units
        copies = [(node.output, other) for other in wanted if other.geometry != layout.geometry]
        for name, want in zip(node.tensors, wants(node, ctx, layout), strict=True):
            if want is not None and want.geometry not in known[name]:
                copies.append((name, want))
        return float(cycles) + sum(COPY * ctx.channels(name) * copy.plane_elems for name, copy in copies)

    same = (layout for layout in wanted if layout.images == natural.images)
    blocks = (layout for layout in same if layout.whole and not layout.planar)
    return min((natural, *blocks), key=cost)
