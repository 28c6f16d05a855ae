"""Recognise a channel shuffle, which exports write as reshape, transpose, reshape.

Flatten [1, c, h, w] -> [1, g, c/g, h, w];  Transpose (0, 2, 1, 3, 4);  Flatten -> [1, c, h, w]
    =>    ChannelShuffle(group=g)
"""

import onnx_ir as ir

from ..edit import absorb, get, is_op, put, sole_consumer, source
from ..site import shape_of


def fuse_channel_shuffle(graph: ir.Graph) -> None:
    """Replace every Transpose that is the middle of a channel shuffle."""
    for node in list(graph):
        before = source(node).producer() if is_op(node, "Transpose") else None
        after = sole_consumer(node)
        if before is None or after is None or not is_op(before, "Flatten") or not is_op(after, "Flatten"):
            continue
        shape, parts = shape_of(source(before)), shape_of(source(node))
        alike = len(shape) == 4 and parts[3:] == shape[2:] and shape_of(after.outputs[0]) == shape
        if get(node, "perm") != (0, 2, 1, 3, 4) or not alike:
            continue
        node.replace_input_with(0, source(before))
        node.op_type = "ChannelShuffle"
        node.attributes.clear()
        put(node, group=parts[1])
        absorb(node, after)
