"""Fold factors around a product of two matrices into it, over what only moves.

Affine(s) -> Transpose -> MatMul -> Affine(t)    =>    Transpose -> MatMul(scale s * t)
"""

import onnx_ir as ir

from ..edit import bypass, factor_of, is_op, put, sole_consumer, source
from ..moves import behind, moves


def fold_scale(graph: ir.Graph) -> None:
    """Fold every multiplication by one number that only a product follows, or that alone follows one."""
    for node in list(graph):
        if not is_op(node, "MatMul"):
            continue
        scale = node.attributes["scale"].value
        while (affine := next(filter(_folds, _around(node)), None)) is not None:
            scale *= factor_of(affine)
            bypass(affine)
        put(node, scale=float(scale))


def _around(node: ir.Node) -> list[ir.Node]:
    """Give what computes both operands, and what alone uses the product, where nothing else uses what is between."""
    after = sole_consumer(node)
    while after is not None and moves(after):
        after = sole_consumer(after)
    found = [] if after is None else [after]
    for i in (0, 1):
        value, chain = behind(source(node, i))
        before = value.producer()
        if before is not None and all(sole_consumer(each) is not None for each in (before, *chain)):
            found.append(before)
    return found


def _folds(node: ir.Node) -> bool:
    return factor_of(node) != 0 and not node.outputs[0].is_graph_output()
