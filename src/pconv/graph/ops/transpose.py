"""Transpose, which is a Flatten where it moves nothing but dimensions of size 1."""

from collections.abc import Sequence

import onnx_ir as ir

from ..site import Operand, Site, shape_of

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def transpose(site: Site) -> Operand:
    """Convert Transpose."""
    x = site.tensor()
    shape = shape_of(x)
    order = site.attr("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise site.malformed(f"perm {list(order)} is no permutation of {len(shape)} dimensions")
    return permuted(site, x, order)


def permuted(site: Site, x: ir.Value, order: Sequence[int], step: str = "") -> ir.Value:
    """Append what brings an activation's dimensions into another order."""
    shape = shape_of(x)
    moved = [axis for axis in order if shape[axis] > 1]
    out = [shape[axis] for axis in order]
    if moved == sorted(moved):
        return site.reshape(x, out, step)
    return site.emit("Transpose", [x], out, step=step, perm=tuple(order))


CONVERTERS = {"Transpose": transpose}
