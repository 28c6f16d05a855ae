"""Transpose, which is a Flatten where it moves nothing but dimensions of size 1."""

from collections.abc import Sequence
from math import prod

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
    if order[0] == 0 or shape[order[0]] == 1:
        return permuted(site, x, order)
    inner = permuted(site, x, (0, *(axis for axis in order if axis)), "inner")
    return site.shaped(inner, [shape[axis] for axis in order])


def permuted(site: Site, x: ir.Value, order: Sequence[int], step: str = "") -> ir.Value:
    """Append what brings an activation's dimensions into another order."""
    shape = shape_of(x)
    moved = [axis for axis in order if shape[axis] > 1]
    out = [shape[axis] for axis in order]
    if moved == sorted(moved):
        return site.reshape(x, out, step)
    return site.emit("Transpose", [x], out, step=step, perm=tuple(order))


def last_as_image(site: Site, x: ir.Value, step: str) -> ir.Value:
    """Append what makes an image [1, c, h, w] of anything whose channels come last, as rows of tokens [1, t, c]."""
    shape = shape_of(x)
    grid = (1, prod(shape[1:-2]), *shape[-2:]) if len(shape) > 2 else (1, 1, 1, shape[-1])
    return permuted(site, site.reshape(x, grid, f"{step}.grid"), CHANNELS_FIRST, step)


def last_again(site: Site, image: ir.Value, shape: Sequence[int]) -> ir.Value:
    """Append what brings an image's channels last again, in a shape."""
    _, c, h, w = shape_of(image)
    if tuple(shape) == (1, h, w, c):
        return permuted(site, image, CHANNELS_LAST)
    return site.reshape(permuted(site, image, CHANNELS_LAST, "grid"), shape)


CONVERTERS = {"Transpose": transpose}
