"""Merge transposes that follow each other, with changes of shape between them; those that undo each other are nothing.

Transpose(p) -> Transpose(q)                              =>    Transpose(p then q)
Transpose -> Flatten -> Transpose                         =>    Flatten -> Transpose -> Flatten, as far as needed
[1, c, h, w] -> [1, h, w, c] -> [1, h * w, c] -> [1, c, h * w]    =>    Flatten
"""

import onnx_ir as ir

from ..edit import is_op
from ..moves import behind, moved, moves, stay, whole, write
from ..site import shape_of


def merge_transpose(graph: ir.Graph) -> None:
    """Merge every chain with several transposes, or with one that moves nothing in the end."""
    for node in list(graph):
        value = node.outputs[0]
        goes_on = not value.is_graph_output() and all(moves(use.node) for use in value.uses())
        if not moves(node) or goes_on:
            continue
        first, chain = behind(value)
        turns = sum(is_op(each, "Transpose") for each in chain)
        dims = moved(whole(shape_of(first)), chain)
        if dims is not None and (turns > 1 or (turns and stay(dims))):
            write(graph, node, first, dims)
