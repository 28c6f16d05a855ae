"""Run a 1x1 convolution on the rows and columns that its result is given: it does not care, and what follows fits then.

[1, c, 1, 20] -> Conv(1x1) -> Flatten [1, f, 4, 5] -> Add    =>    Flatten [1, c, 4, 5] -> Conv(1x1) -> Add
"""

import onnx_ir as ir

from ..edit import absorb, get, ints, is_op, make_node, sole_consumer, source, weight
from ..site import shape_of


def regrid_pointwise(graph: ir.Graph) -> None:
    """Change every such convolution that adds nothing."""
    for node in list(graph):
        after = sole_consumer(node)
        if not is_op(node, "Conv") or after is None or not is_op(after, "Flatten") or not _pointwise(node):
            continue
        shape, channels = shape_of(after.outputs[0]), shape_of(source(node))[1]
        if len(shape) != 4 or shape[:2] != shape_of(node.outputs[0])[:2]:
            continue
        grid = make_node(graph, "Flatten", f"{node.name}.grid", [source(node)], (1, channels, *shape[2:]))
        graph.insert_before(node, grid)
        node.replace_input_with(0, grid.outputs[0])
        absorb(node, after)


def _pointwise(node: ir.Node) -> bool:
    return (
        weight(node, 1).shape[2:] == (1, 1)
        and ints(node, "strides") == (1, 1)
        and not any(ints(node, "pads"))
        and len(node.inputs) == 3
        and get(node, "pool") == ""
    )
