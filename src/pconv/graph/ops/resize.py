"""Resize, Upsample -> Resize, whose weights say how much of each row (column) an output row (column) has.

y = rows @ x @ columns transposed          nearest: one 1 a row; linear: two; cubic: four

Sizes and places are computed in float32, as ONNX Runtime does: 10 rows times 0.7 are 7, not 6.99999988.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..site import Operand, Site, shape_of

Coordinates = NDArray[np.float32]

_MOST_WEIGHTS = 1 << 26
"""Positions before times positions after, of rows or of columns: as many floats, 256 MiB, are kept meanwhile."""
TIE = 1e-6
"""How near to the middle of two positions counts as there, as in ONNX Runtime."""

_PLACES: dict[str, Callable[[Coordinates, np.float32, int, int], Coordinates]] = {
    "half_pixel": lambda o, scale, size, out: (o + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda o, scale, size, out: (o + 0.5) / scale - 0.5 if out > 1 else 0 * o,
    "align_corners": lambda o, scale, size, out: (
        o * np.float32(size - 1) / np.float32(out - 1) if out > 1 else 0 * o
    ),
    "asymmetric": lambda o, scale, size, out: o / scale,
    "tf_half_pixel_for_nn": lambda o, scale, size, out: (o + 0.5) / scale,
    "half_pixel_symmetric": lambda o, scale, size, out: _symmetric(
        o, scale, np.float32(size), np.float32(out)
    ),
}
_ROUNDS: dict[str, Callable[[Coordinates], Coordinates]] = {
    "round_prefer_floor": lambda x: np.floor(x) + (x - np.floor(x) >= 0.5 + TIE),
    "round_prefer_ceil": lambda x: np.floor(x) + (x - np.floor(x) > 0.5 - TIE),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(site: Site) -> Operand:
    """Convert Resize; up to opset 10 it has neither sizes nor a choice of coordinates, and shrinks by rounding up."""
    x, new, rank = site.image(), site.opset > 10, len(shape_of(site.tensor()))
    scales, sizes = site.constant(2 if new else 1), site.constant(3) if new else None
    place = site.attr("coordinate_transformation_mode", "half_pixel" if new else "asymmetric")
    nearest = site.attr("nearest_mode", "round_prefer_floor")
    if place not in _PLACES:
        raise site.unsupported(f"coordinate_transformation_mode {place!r}", ", ".join(_PLACES))
    if nearest not in _ROUNDS:
        raise site.malformed(f"nearest_mode {nearest!r} does not exist")
    for name, allowed in (
        ("antialias", 0),
        ("exclude_outside", 0),
        ("keep_aspect_ratio_policy", "stretch"),
    ):
        if (given := site.attr(name, allowed)) != allowed:
            raise site.unsupported(f"{name} {given!r}", repr(allowed))
    axes = [site.axis(axis, rank) for axis in site.attr("axes", range(rank))]
    axes = [axis + (axis == 2 and rank == 3) for axis in axes]
    shape, out, factors = shape_of(x), list(shape_of(x)), [np.float32(1)] * 4
    given = sizes if sizes is not None and sizes.size else scales
    if given is None or given.size != len(axes):
        raise site.malformed("it has neither sizes nor scales for its axes")
    for axis, value in zip(axes, given.tolist(), strict=True):
        if given is scales:
            factors[axis] = np.float32(value)
            out[axis] = int(np.float32(shape[axis]) * factors[axis]) if axis else 1
        elif axis:
            factors[axis], out[axis] = np.float32(value / shape[axis]), int(value)
    if factors[0] != 1 or out[1] != shape[1]:
        raise site.unsupported("it resizes the batch or the channels", "rows and columns")
    if min(out) < 1:
        raise site.malformed(f"its output would be {out}")
    if out == list(shape):
        factors = [np.float32(1)] * 4  # what keeps its size is copied, whatever its scales
    weights = []
    for name, axis in (("rows", 2), ("columns", 3)):
        rounding = nearest if new else "ceil" if factors[axis] < 1 else "floor"
        weights.append((name, _matrix(site, shape[axis], out[axis], factors[axis], place, rounding)))
    return site.like_operand(site.emit("Resize", [x], out, weights=weights))


def _matrix(site: Site, size: int, out: int, scale: np.float32, place: str, nearest: str) -> Coordinates:
    """Give what each of `out` positions takes of each of `size`; beyond the border the last one repeats."""
    if out * size > _MOST_WEIGHTS:
        raise site.unsupported(
            f"it makes {out:,} positions of {size:,}", f"up to {_MOST_WEIGHTS:,} for the product of both"
        )
    x = o = np.arange(out, dtype=np.float32)
    if scale != 1 or size != out:
        x = _PLACES[place](o, scale, size, out)
    mode = site.attr("mode", "nearest")
    if mode == "nearest":
        taps = [(_ROUNDS[nearest](x), np.ones(out, np.float32))]
    elif mode in ("linear", "bilinear"):
        low = np.floor(x)
        taps = [(low, 1 - (x - low)), (low + 1, x - low)]
    elif mode == "cubic":
        a, low = float(site.attr("cubic_coeff_a", -0.75)), np.floor(x)
        taps = [(low + k, _cubic(np.abs(x - low - k), a)) for k in (-1, 0, 1, 2)]
    else:
        raise site.unsupported(f"mode {mode!r}", "nearest, linear, cubic")
    matrix = np.zeros((out, size), np.float32)
    for index, weight in taps:
        np.add.at(matrix, (np.arange(out), np.clip(index, 0, size - 1).astype(int)), weight)
    return matrix


def _symmetric(o: Coordinates, scale: np.float32, size: np.float32, out: np.float32) -> Coordinates:
    """Place half pixels about the middle; ONNX Runtime computes the last of it in float64."""
    margin = size / 2 * (1 - out / (scale * size))
    return (margin + (o.astype(np.float64) + 0.5) / scale - 0.5).astype(np.float32)


def _cubic(distance: Coordinates, a: float) -> Coordinates:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)


CONVERTERS = {"Resize": resize, "Upsample": resize}
