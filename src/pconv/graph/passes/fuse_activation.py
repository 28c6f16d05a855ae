"""Fuse an activation into the node that computes its input.

Conv -> Activation    =>    Conv(activation)        and so for every node with an activation of its own
"""

import onnx_ir as ir

from ..edit import absorb, get, is_op, sole_consumer
from ..spec import OPS

_HOSTS = tuple(op for op, spec in OPS.items() if "activation" in spec.attrs and op != "Activation")
_ATTRS = ("activation", "act_min", "act_max")


def fuse_activation(graph: ir.Graph) -> None:
    """Fuse every Activation whose input nothing else uses, into a node that has none yet."""
    for node in list(graph):
        if not is_op(node, *_HOSTS) or get(node, "activation") != "none":
            continue
        after = sole_consumer(node)
        if is_op(after, "Activation"):
            assert after is not None
            for attr in _ATTRS:
                node.attributes[attr] = after.attributes[attr]
            absorb(node, after)
