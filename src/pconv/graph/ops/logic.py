"""And, Or, Xor, Not: arithmetic of 0 and 1."""

from functools import partial

import onnx_ir as ir

from ..site import Operand, Site, shape_of
from .arithmetic import combined


def _both(site: Site, op: str, step: str = "") -> ir.Value:
    shape = next(shape_of(x) for x in site.operands if isinstance(x, ir.Value))
    return combined(site, op, site.either(0, shape), site.either(1, shape), step)


def xor(site: Site) -> Operand:
    """Convert Xor: the difference without its sign."""
    apart = _both(site, "Sub", "apart")
    return site.emit("Activation", [apart], shape_of(apart), activation="leaky", act_min=-1.0)


def not_(site: Site) -> Operand:
    """Convert Not."""
    return inverse(site, site.tensor())


def inverse(site: Site, x: ir.Value, step: str = "") -> ir.Value:
    """Append 1 where there is 0, and 0 where there is 1."""
    return site.scaled(x, -1.0, 1.0, step)


CONVERTERS = {"And": partial(_both, op="Mul"), "Or": partial(_both, op="Max"), "Xor": xor, "Not": not_}
