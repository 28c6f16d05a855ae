"""Let an average pool count its padding, as it does lane by lane, and make up for it: by a factor for each position.

AveragePool(3x3, pads 1, padding not counted)    =>    AveragePool(padding counted) -> Mul(9 / what lies inside)
"""

import numpy as np
import onnx_ir as ir

from ..edit import get, ints, is_op, make_node, put, source
from ..site import Array, shape_of


def count_padding(graph: ir.Graph) -> None:
    """Change every padded one of stride 1, whose blocks are those of its image."""
    for node in list(graph):
        padded = is_op(node, "AveragePool") and any(ints(node, "pads")) and not get(node, "count_include_pad")
        if not padded or ints(node, "strides") != (1, 1):
            continue
        out, (kh, kw) = node.outputs[0], ints(node, "kernel_shape")
        shape, image, pads, name = shape_of(out), shape_of(source(node))[2:], ints(node, "pads"), out.name
        inside = np.outer(*(_inside(image[i], (kh, kw)[i], pads[i], shape[2 + i]) for i in (0, 1)))
        value = {"value": (kh * kw / inside)[None, None]}
        factors = make_node(graph, "Constant", f"{node.name}.factors", [], (1, 1, *shape[2:]), value)
        scaled = make_node(graph, "Mul", f"{node.name}.scaled", [out, factors.outputs[0]], shape)
        put(node, count_include_pad=1)
        graph.insert_after(node, [factors, scaled])
        out.replace_all_uses_with(scaled.outputs[0], replace_graph_outputs=True)
        scaled.replace_input_with(0, out)
        out.name, scaled.outputs[0].name = f"{node.name}.counted", name


def _inside(size: int, taps: int, before: int, out: int) -> Array:
    """Count what each window along an axis has of the image."""
    first = np.arange(out) - before
    return np.minimum(first + taps, size) - np.maximum(first, 0)
