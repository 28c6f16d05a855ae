"""Merge slices that follow each other, and the channel padding after them (ResNet's option-A shortcut).

Subsample(rows) -> Subsample(columns) -> Subsample(pad channels)    =>    Subsample
"""

import onnx_ir as ir

from ..edit import absorb, ints, is_op, put, sole_consumer


def merge_subsample(graph: ir.Graph) -> None:
    """Merge every pair whose first pads no channels and has no other user."""
    for node in list(graph):
        if not is_op(node, "Subsample"):
            continue
        while not any(ints(node, "channel_pad")) and is_op(after := sole_consumer(node), "Subsample"):
            assert after is not None
            strides = (1, *ints(node, "steps"))
            offsets = zip(ints(node, "starts"), strides, ints(after, "starts"), strict=True)
            put(
                node,
                starts=tuple(first + step * second for first, step, second in offsets),
                steps=tuple(a * b for a, b in zip(ints(node, "steps"), ints(after, "steps"), strict=True)),
                sizes=ints(after, "sizes"),
                channel_pad=ints(after, "channel_pad"),
            )
            absorb(node, after)
