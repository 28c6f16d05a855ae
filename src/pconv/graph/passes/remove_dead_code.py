"""Remove nodes whose output nothing uses, and their weights."""

import onnx_ir as ir

from ..edit import detach


def remove_dead_code(graph: ir.Graph) -> None:
    """Remove from the end to the front, so that one walk is enough."""
    for node in reversed(list(graph)):
        value = node.outputs[0]
        if not value.uses() and not value.is_graph_output():
            detach(node)
