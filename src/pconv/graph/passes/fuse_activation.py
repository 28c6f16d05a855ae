"""Fuse an activation into the node that computes its input.

Conv -> Activation                    =>    Conv(activation)    and so for every node with an activation of its own
Conv -> DepthToSpace -> Activation    =>    Conv(activation) -> DepthToSpace    and so over all that only moves
"""

import onnx_ir as ir

from ..edit import absorb, get, ints, is_op, sole_consumer
from ..spec import ACTIVATION_DEFAULTS, OPS

_HOSTS = tuple(op for op, spec in OPS.items() if "activation" in spec.attrs and op != "Activation")
_MOVES = ("DepthToSpace", "ChannelShuffle", "Transpose", "Flatten", "Subsample")


def fuse_activation(graph: ir.Graph) -> None:
    """Fuse every Activation whose input nothing else uses, into a node that has none yet."""
    for node in list(graph):
        if not is_op(node, *_HOSTS) or get(node, "activation") != "none":
            continue
        last, after = node, sole_consumer(node)
        while after is not None and _moves(after):
            last, after = after, sole_consumer(after)
        if after is not None and is_op(after, "Activation"):
            for attr in ACTIVATION_DEFAULTS:
                node.attributes[attr] = after.attributes[attr]
            absorb(last, after)


def _moves(node: ir.Node) -> bool:
    """Tell whether each element of a node's output is one of its input."""
    return is_op(node, *_MOVES) and not (is_op(node, "Subsample") and any(ints(node, "channel_pad")))
