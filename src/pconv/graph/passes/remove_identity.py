"""Remove what moves and computes nothing: a Flatten to the same shape, and a Flatten before a Flatten.

Flatten -> Flatten    =>    Flatten
"""

import onnx_ir as ir

from ..edit import bypass, is_op, source
from ..site import shape_of


def remove_identity(graph: ir.Graph) -> None:
    """Shorten chains of Flatten. (Dropout, Identity and Cast never get past the translation.)"""
    for node in list(graph):
        if not is_op(node, "Flatten"):
            continue
        before = source(node).producer()
        if before is not None and is_op(before, "Flatten"):
            node.replace_input_with(0, source(before))
        if shape_of(source(node)) == shape_of(node.outputs[0]) and not node.outputs[0].is_graph_output():
            bypass(node)
