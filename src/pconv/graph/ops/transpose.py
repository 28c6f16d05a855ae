"""Transpose, which is a Flatten where it moves nothing but dimensions of size 1."""

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from ..moves import behind, merged, moved, whole
from ..site import Operand, Site, shape_of

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def transpose(site: Site) -> Operand:
    """Convert Transpose."""
    x, unbatched = site.tensor(), int(site.reads_unbatched)
    shape = shape_of(x)[unbatched:]
    order = site.attr("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise site.malformed(f"perm {list(order)} is no permutation of {len(shape)} dimensions")
    turned = [shape[axis] for axis in order]
    inside = (0, *(axis + 1 for axis in order)) if unbatched else tuple(order)
    if (turned[0] == 1) == unbatched:  # it comes to have a batch, or to have none
        inside = inside if unbatched else (0, *(axis for axis in order if axis))
        return site.shaped(permuted(site, x, inside, "inner"), turned)
    return permuted(site, x, inside)


def permuted(site: Site, x: ir.Value, order: Sequence[int], step: str = "") -> ir.Value:
    """Append what brings an activation's dimensions into another order."""
    shape = shape_of(x)
    moved = [axis for axis in order if shape[axis] > 1]
    out = [shape[axis] for axis in order]
    if moved == sorted(moved):
        return site.reshape(x, out, step)
    return site.emit("Transpose", [x], out, step=step, perm=tuple(order))


def image_behind(x: ir.Value) -> ir.Value | None:
    """Give the image [1, c, h, w] that something is with its channels last, in whatever rows, if there is one."""
    channels, (first, chain) = shape_of(x)[-1], behind(x)
    if len(shape_of(first)) != 4 or shape_of(first)[1] != channels or not chain:
        return None
    dims, wanted = moved(whole(shape_of(first)), chain), whole(shape_of(first))
    last = merged([wanted[axis] for axis in CHANNELS_LAST])
    return first if dims is not None and merged(dims) == last else None


def last_as_image(site: Site, x: ir.Value, step: str) -> ir.Value:
    """Append what makes an image [1, c, h, w] of anything whose channels come last, as rows of tokens [1, t, c]."""
    if (image := image_behind(x)) is not None:
        return image
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
