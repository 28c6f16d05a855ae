"""Transpose, which is a Flatten where it moves nothing but dimensions of size 1."""

from ..site import Operand, Site, shape_of


def transpose(site: Site) -> Operand:
    """Convert Transpose."""
    x = site.tensor()
    shape = shape_of(x)
    order = site.attr("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise site.malformed(f"perm {list(order)} is no permutation of {len(shape)} dimensions")
    moved = [axis for axis in order if shape[axis] > 1]
    out = [shape[axis] for axis in order]
    if moved == sorted(moved):
        return site.reshape(x, out)
    return site.emit("Transpose", [x], out, perm=tuple(order))


CONVERTERS = {"Transpose": transpose}
