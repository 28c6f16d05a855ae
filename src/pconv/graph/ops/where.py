"""Where: what is kept of either operand, added.

Where(mask, a, b)    ->    Keep(a, mask) + Keep(b, 1 - mask)

Of one number for all, Keep is an Affine of the mask; of zeros, nothing. What is not chosen may be anything, infinite or
no number as well, as where a division by zero is to be hidden.
"""

import numpy as np
import onnx_ir as ir

from ..nodes import Shape
from ..site import Array, Operand, Site, shape_of
from .arithmetic import combined
from .expand import spread
from .logic import inverse


def where(site: Site) -> Operand:
    """Convert Where."""
    rank = max(x.ndim if isinstance(x, np.ndarray) else len(shape_of(x)) for x in _operands(site))
    shape = np.broadcast_shapes(*(_shape(x, rank) for x in _operands(site)))
    parts = [part for i in (1, 2) if (part := _kept(site, i, rank)) is not None]
    if not parts:
        return site.constant_value(np.zeros(1), shape, step="")
    total = parts[0] if len(parts) == 1 else combined(site, "Add", parts[0], parts[1], "sum")
    return site.last(spread(site, total, shape, "wide"), shape)


def _operands(site: Site) -> list[Operand]:
    operands = [site.operand(i) for i in range(3)]
    if any(operand is None for operand in operands):
        raise site.malformed("it has not three inputs")
    return [operand for operand in operands if operand is not None]


def _shape(operand: Operand, rank: int) -> Shape:
    shape = operand.shape if isinstance(operand, np.ndarray) else shape_of(operand)
    return (1,) * (rank - len(shape)) + shape


def _kept(site: Site, i: int, rank: int) -> ir.Value | None:
    """Append operand `i` where it is chosen, and 0 where not; None where that is 0 everywhere."""
    mask, operand = site.operands[0], site.operands[i]
    step = "one" if i == 1 else "other"
    if isinstance(mask, np.ndarray) and i == 2:
        mask = np.asarray(~mask.astype(bool))
    if isinstance(operand, np.ndarray):
        if not np.isfinite(operand).all():
            raise site.unsupported("it puts in a constant that is not finite", "finite ones, such as -1e9")
        if not operand.any():
            return None
        if isinstance(mask, np.ndarray):
            return _constant(site, np.where(mask, operand, 0), rank, step)
    if isinstance(mask, np.ndarray):
        mask = _constant(site, mask, rank, f"{step}.mask")
    assert mask is not None and operand is not None
    if i == 2 and isinstance(site.operands[0], ir.Value):
        mask = inverse(site, mask, f"{step}.mask")
    if isinstance(operand, np.ndarray) and operand.size == 1:
        return site.scaled(mask, operand.item(), step=step)
    value = _constant(site, operand, rank, f"{step}.constant") if isinstance(operand, np.ndarray) else operand
    return combined(site, "Keep", value, mask, step)


def _constant(site: Site, array: Array, rank: int, step: str) -> ir.Value:
    return site.constant_value(array, _shape(array, rank), step)


CONVERTERS = {"Where": where}
