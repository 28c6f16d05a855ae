"""Fold an Affine into what it follows.

    Conv(x, w, b) -> Affine(scale, shift)                    =>    Conv(x, w * scale, b * scale + shift)
    Conv(x, w, b) -> DepthToSpace -> Affine(scale, shift)    =>    the same -> DepthToSpace; so over a slice of an image

The same for Gemm, and for an Affine that follows an Affine. Zeros in the weights stay zeros.
"""

import numpy as np
import onnx_ir as ir

from ..edit import absorb, get, ints, is_op, set_weight, sole_consumer, source, weight
from ..site import Array, shape_of


def fold_batch_norm(graph: ir.Graph) -> None:
    """Fold every Affine whose input is a linear node that nothing else uses."""
    for node in list(graph):
        if not is_op(node, "Conv", "Gemm", "Affine"):
            continue
        while get(node, "activation") == "none":
            moves, after = _path(node)
            if after is None or not is_op(after, "Affine"):
                break
            scale, shift = (_before(weight(after, i), moves) for i in (1, 2))
            w, b = weight(node, 1), weight(node, 2)
            set_weight(node, 1, w * scale.reshape(-1, *(1,) * (w.ndim - 1)))
            set_weight(node, 2, (b.astype(np.float64) * scale + shift).astype(np.float32))
            absorb(moves[-1] if moves else node, after)


def _path(node: ir.Node) -> tuple[list[ir.Node], ir.Node | None]:
    """Give the nodes behind one that only move its image, and the one that uses what they give."""
    moves: list[ir.Node] = []
    after = sole_consumer(node)
    while after is not None and _moves(after):
        moves.append(after)
        after = sole_consumer(after)
    return moves, after


def _moves(node: ir.Node) -> bool:
    """Tell whether a node leaves channels whole, or takes those apart that it interleaves."""
    if is_op(node, "DepthToSpace"):
        return True
    return (
        is_op(node, "Subsample")
        and shape_of(source(node))[1] == shape_of(node.outputs[0])[1] == ints(node, "sizes")[0]
    )


def _before(constant: Array, moves: list[ir.Node]) -> Array:
    """Give each channel's constant as the channels stood before some moves."""
    for node in reversed(moves):
        if is_op(node, "DepthToSpace"):
            phases = node.attributes["blocksize"].value ** 2
            crd = get(node, "mode") == "CRD"
            constant = np.repeat(constant, phases) if crd else np.tile(constant, phases)
    return constant
