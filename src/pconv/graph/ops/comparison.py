"""Greater, Less, Equal and the like: 1 where it is true, 0 where not, which is how truth lies in memory.

x > 3    -> Activation(above 3)                     a > b     -> a - b above 0
x < 3    -> Affine(-x) -> above -3                  a == b    -> -|a - b| at least 0
x == 3   -> Mul(x at least 3, -x at least -3)

Exact for all finite numbers: a difference is 0 only of equal ones.
"""

from functools import partial

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from .arithmetic import combined

_LARGEST = float(np.finfo(np.float32).max)


def greater(site: Site, kind: str, first: int) -> Operand:
    """Convert a comparison of operand `first` with the other: whether it is `above` that, or `atleast` that."""
    a, b = site.operand(first), site.operand(1 - first)
    if isinstance(b, np.ndarray) and b.size == 1:
        return _activated(site, site.tensor(first), kind, _number(site, b))
    if isinstance(a, np.ndarray) and a.size == 1:
        return _activated(
            site, site.scaled(site.tensor(1 - first), -1.0, step="minus"), kind, -_number(site, a)
        )
    return _activated(site, _difference(site, first), kind, 0.0)


def equal(site: Site) -> Operand:
    """Convert Equal."""
    for i in (0, 1):
        constant = site.operand(i)
        if isinstance(constant, np.ndarray) and constant.size == 1:
            x, bound = site.tensor(1 - i), _number(site, constant)
            least = _activated(site, x, "atleast", bound, "least")
            most = _activated(site, site.scaled(x, -1.0, step="minus"), "atleast", -bound, "most")
            return site.emit("Mul", [least, most], shape_of(x))
    apart = _activated(site, _difference(site, 0), "leaky", -1.0, "apart")
    return _activated(site, site.scaled(apart, -1.0, step="near"), "atleast", 0.0)


def _difference(site: Site, first: int) -> ir.Value:
    shape = next(shape_of(x) for x in site.operands if isinstance(x, ir.Value))
    a, b = site.either(first, shape), site.either(1 - first, shape)
    return combined(site, "Sub", a, b, "difference")


def _activated(site: Site, x: ir.Value, kind: str, low: float, step: str = "") -> ir.Value:
    return site.emit("Activation", [x], shape_of(x), step=step, activation=kind, act_min=low)


def _number(site: Site, constant: Array) -> float:
    if np.isnan(constant).any():
        raise site.unsupported("it compares with what is no number", "numbers")
    return float(np.clip(constant.item(), -_LARGEST, _LARGEST))


CONVERTERS = {
    "Greater": partial(greater, kind="above", first=0),
    "GreaterOrEqual": partial(greater, kind="atleast", first=0),
    "Less": partial(greater, kind="above", first=1),
    "LessOrEqual": partial(greater, kind="atleast", first=1),
    "Equal": equal,
}
