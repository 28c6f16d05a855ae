"""Let an activation between two moves follow them both, so that these meet.

MatMul -> Transpose -> Activation -> Transpose -> Conv    =>    MatMul -> Transpose -> Transpose -> Activation -> Conv
"""

import onnx_ir as ir

from ..edit import is_op, sole_consumer, source
from ..moves import moves
from ..site import shape_of


def sink_activation(graph: ir.Graph) -> None:
    """Sink every Activation of what was moved as far as moves alone read it."""
    for node in list(graph):
        while is_op(node, "Activation") and moves(source(node).producer()):
            after = sole_consumer(node)
            if after is None or not moves(after) or after.outputs[0].is_graph_output():
                break
            _swap(graph, node, after)


def _swap(graph: ir.Graph, node: ir.Node, after: ir.Node) -> None:
    """Put a node behind the one that alone reads it."""
    value, moved = node.outputs[0], after.outputs[0]
    moved.replace_all_uses_with(value)
    after.replace_input_with(0, source(node))
    node.replace_input_with(0, moved)
    value.shape = ir.Shape(shape_of(moved))
    graph.remove(node)
    graph.insert_after(after, node)
