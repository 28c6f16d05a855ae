"""Fold a Pad into the convolutions that read it.

Pad(p) -> Conv(pads=q)    =>    Conv(pads=p + q)
"""

import onnx_ir as ir

from ..edit import get, ints, is_op, put, source


def fold_pad(graph: ir.Graph) -> None:
    """Fold into every convolution that reads a Pad as its image; a Pad that nothing reads is then dead."""
    for node in graph:
        pad = source(node).producer() if is_op(node, "Conv") else None
        if pad is not None and is_op(pad, "Pad") and get(pad, "mode") == "constant":
            put(node, pads=tuple(a + b for a, b in zip(ints(pad, "pads"), ints(node, "pads"), strict=True)))
            node.replace_input_with(0, source(pad))
