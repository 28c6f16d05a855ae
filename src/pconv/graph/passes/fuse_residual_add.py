"""Fuse an addition into the convolution that computes one of its operands.

    y = Conv(x); r = ...; z = Add(y, r)    =>    r = ...; z = Conv(x, residual=r)

The fused node stands where the Add stood, so the residual is computed before it.
"""

import onnx_ir as ir

from ..edit import absorb, get, is_op, sole_consumer, source
from ..site import shape_of
from ..spec import ACTIVATION_DEFAULTS


def fuse_residual_add(graph: ir.Graph) -> None:
    """Fuse every Add that alone uses a plain convolution; of two, the later one."""
    place = {node: i for i, node in enumerate(graph)}
    for add in list(graph):
        if not is_op(add, "Add") or len({shape_of(source(add, i)) for i in (0, 1)}) > 1:
            continue
        hosts = [
            node for value in add.inputs if value and (node := value.producer()) and _can_host(node, add)
        ]
        if not hosts:
            continue
        conv = max(hosts, key=lambda node: place[node])
        residual = source(add, 1) if source(add, 0).producer() is conv else source(add, 0)
        for attr in ACTIVATION_DEFAULTS:
            conv.attributes[attr] = add.attributes[attr]
        graph.remove(conv)
        graph.insert_before(add, conv)
        place[conv] = place[add]
        conv.resize_inputs(4)
        conv.replace_input_with(3, residual)
        absorb(conv, add)


def _can_host(node: ir.Node, add: ir.Node) -> bool:
    return (
        is_op(node, "Conv")
        and len(node.inputs) == 3
        and get(node, "activation") == "none"
        and get(node, "pool") == ""
        and sole_consumer(node) is add
    )
