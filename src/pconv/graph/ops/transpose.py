"""Transpose: only as a part of a pixel shuffle, or where it moves nothing but dimensions of size 1."""

from ..site import Operand, Site, shape_of


def transpose(site: Site) -> Operand:
    """Convert Transpose to a Transpose that a later pass must consume, or to a Flatten."""
    x = site.tensor()
    shape = shape_of(x)
    order = site.attr("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise site.malformed(f"perm {list(order)} is no permutation of {len(shape)} dimensions")
    moved = [axis for axis in order if shape[axis] > 1]
    out = [shape[axis] for axis in order]
    if moved == sorted(moved):
        return site.reshape(x, out)
    return site.emit("Transpose", [x], out, perm=order)


CONVERTERS = {"Transpose": transpose}
