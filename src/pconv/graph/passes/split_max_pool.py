"""Split a large max pool into one over rows and one over columns: 13 + 13 elements for each output instead of 169.

MaxPool(13x13)    =>    MaxPool(13x1) -> MaxPool(1x13)
"""

import onnx_ir as ir

from ..edit import ints, is_op, make_node, put, source
from ..site import shape_of

LARGE = 25
"""Elements of a window from which on two passes over the image are less."""


def split_max_pool(graph: ir.Graph) -> None:
    """Split every one of them; what lies in the padding wins in neither pass."""
    for node in list(graph):
        if not is_op(node, "MaxPool"):
            continue
        (kh, kw), (sy, sx), (top, left, bottom, right) = (
            ints(node, name) for name in ("kernel_shape", "strides", "pads")
        )
        if min(kh, kw) == 1 or kh * kw < LARGE:
            continue
        image, height = source(node), shape_of(node.outputs[0])[2]
        shape = (*shape_of(image)[:2], height, shape_of(image)[3])
        rows = make_node(
            graph,
            "MaxPool",
            f"{node.name}:rows",
            [image],
            shape,
            kernel_shape=(kh, 1),
            strides=(sy, 1),
            pads=(top, 0, bottom, 0),
        )
        graph.insert_before(node, rows)
        node.replace_input_with(0, rows.outputs[0])
        put(node, kernel_shape=(1, kw), strides=(1, sx), pads=(0, left, 0, right))
