"""Fold an Affine into what it follows.

    Conv(x, w, b) -> Affine(scale, shift)    =>    Conv(x, w * scale, b * scale + shift)

The same for Gemm, and for an Affine that follows an Affine. Zeros in the weights stay zeros.
"""

import numpy as np
import onnx_ir as ir

from ..edit import absorb, get, is_op, set_weight, sole_consumer, weight


def fold_batch_norm(graph: ir.Graph) -> None:
    """Fold every Affine whose input is a linear node that nothing else uses."""
    for node in list(graph):
        if not is_op(node, "Conv", "Gemm", "Affine"):
            continue
        while is_op(after := sole_consumer(node), "Affine") and get(node, "activation") == "none":
            assert after is not None
            scale, shift = weight(after, 1), weight(after, 2)
            w, b = weight(node, 1), weight(node, 2)
            set_weight(node, 1, w * scale.reshape(-1, *(1,) * (w.ndim - 1)))
            set_weight(node, 2, (b.astype(np.float64) * scale + shift).astype(np.float32))
            absorb(node, after)
