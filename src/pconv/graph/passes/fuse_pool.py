"""Fuse a 2x2 max pooling with stride 2 into the convolution before it.

Conv -> MaxPool(2x2, stride 2)    =>    Conv(pool="max2x2")
"""

import onnx_ir as ir

from ..edit import absorb, ints, is_op, put, sole_consumer
from ..site import shape_of
from ..spec import never_falls


def fuse_pool(graph: ir.Graph) -> None:
    """Fuse where the convolution has even output sizes, no residual, and no other user.

    The kernels pool before they activate, which is the same where an activation never falls.
    """
    for node in list(graph):
        if not is_op(node, "Conv") or len(node.inputs) != 3:
            continue
        activation = node.attributes["activation"].as_string()
        if not never_falls(activation, node.attributes["act_min"].as_float()):
            continue
        after = sole_consumer(node)
        if is_op(after, "MaxPool") and after is not None and _is_plain(after) and _is_even(node):
            put(node, pool="max2x2")
            absorb(node, after)


def _is_plain(pool: ir.Node) -> bool:
    window = ints(pool, "kernel_shape") + ints(pool, "strides")
    return window == (2, 2, 2, 2) and not any(ints(pool, "pads"))


def _is_even(node: ir.Node) -> bool:
    return all(size % 2 == 0 for size in shape_of(node.outputs[0])[2:])
