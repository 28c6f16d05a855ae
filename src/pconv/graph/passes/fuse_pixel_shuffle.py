"""Recognise a pixel shuffle that an export wrote as reshape, transpose, reshape.

Flatten [1, c*r*r, h, w] -> [1, c, r, r, h, w];  Transpose (0, 1, 4, 2, 5, 3);  Flatten -> [1, c, h*r, w*r]
    =>    DepthToSpace(blocksize=r, mode="CRD")
"""

import onnx_ir as ir

from ..edit import detach, get, is_op, sole_consumer, source
from ..site import shape_of
from ..spec import DOMAIN

# The order of the transpose, and where c and the two r stand in the six dimensions before it.
_MODES = {"CRD": ((0, 1, 4, 2, 5, 3), 1, (2, 3)), "DCR": ((0, 3, 4, 1, 5, 2), 3, (1, 2))}


def fuse_pixel_shuffle(graph: ir.Graph) -> None:
    """Replace every Transpose that is the middle of a pixel shuffle."""
    for node in list(graph):
        before = source(node).producer() if is_op(node, "Transpose") else None
        after = sole_consumer(node)
        if before is None or after is None or not is_op(before, "Flatten") or not is_op(after, "Flatten"):
            continue
        x, six, out = source(before), shape_of(source(node)), after.outputs[0]
        for mode, (perm, c, (r0, r1)) in _MODES.items():
            if len(six) != 6 or get(node, "perm") != perm:
                continue
            block, (height, width) = six[r0], six[4:]
            wanted = (1, six[c], height * block, width * block)
            if six[r1] != block or shape_of(x)[2:] != (height, width) or shape_of(out) != wanted:
                continue
            shuffle = ir.node(
                "DepthToSpace", [x], {"blocksize": block, "mode": mode}, domain=DOMAIN, name=after.name
            )
            graph.insert_before(after, shuffle)
            new = shuffle.outputs[0]
            name, new.shape, new.type = out.name, out.shape, out.type
            out.replace_all_uses_with(new, replace_graph_outputs=True)
            detach(after)
            detach(node)
            new.name = name
            break
