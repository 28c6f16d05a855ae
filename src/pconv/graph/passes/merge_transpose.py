"""Merge transposes that follow each other; two that undo each other are nothing.

Transpose(p) -> Transpose(q)    =>    Transpose(p then q)
"""

import onnx_ir as ir

from ..edit import absorb, bypass, ints, is_op, put, sole_consumer


def merge_transpose(graph: ir.Graph) -> None:
    """Merge every pair whose first has no other user."""
    for node in list(graph):
        if not is_op(node, "Transpose") or node.graph is None:
            continue
        while is_op(after := sole_consumer(node), "Transpose"):
            assert after is not None
            first = ints(node, "perm")
            put(node, perm=tuple(first[axis] for axis in ints(after, "perm")))
            absorb(node, after)
        if (
            ints(node, "perm") == tuple(range(len(ints(node, "perm"))))
            and not node.outputs[0].is_graph_output()
        ):
            bypass(node)
