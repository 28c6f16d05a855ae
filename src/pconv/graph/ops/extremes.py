"""Max, Min of any number of operands: one that is a constant for all clips, others element by element."""

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from .arithmetic import combined

_LARGEST = float(np.finfo(np.float32).max)


def extreme(site: Site) -> Operand:
    """Convert Max or Min."""
    values = [operand for operand in site.operands if isinstance(operand, ir.Value)]
    arrays = [
        operand for operand in site.operands if operand is not None and not isinstance(operand, ir.Value)
    ]
    pick = np.maximum if site.op == "Max" else np.minimum
    total, *others = values
    for i, value in enumerate(others, 1):
        total = combined(site, site.op, total, value, f"other{i}" if arrays or i < len(others) else "")
    if not arrays:
        return total
    bound: Array = arrays[0]
    for array in arrays[1:]:
        bound = pick(bound, array)
    if bound.size == 1 and not np.isnan(bound).any():
        return _clipped(site, total, float(np.clip(bound.item(), -_LARGEST, _LARGEST)))
    return combined(site, site.op, total, site.constant_value(bound, shape_of(total)))


def _clipped(site: Site, x: ir.Value, bound: float) -> ir.Value:
    low, high = (bound, _LARGEST) if site.op == "Max" else (-_LARGEST, bound)
    if (low, high) == (0.0, _LARGEST):
        return site.emit("Activation", [x], shape_of(x), activation="relu")
    return site.emit("Activation", [x], shape_of(x), activation="clip", act_min=low, act_max=high)


CONVERTERS = {"Max": extreme, "Min": extreme}
