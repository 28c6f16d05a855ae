"""Add, Sub, Mul, Div, Sum.

Two activations of one shape -> Add, Sub, Mul; an activation and a constant (scalar or per channel) -> Affine:

    x + c -> x * 1 + c        c - x -> x * -1 + c        x * c -> x * c + 0        x / c -> x * (1 / c) + 0
"""

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of


def add(site: Site) -> Operand:
    """Convert Add."""
    x, c, _ = _split(site)
    return _tensors(site) if c is None else _affine(site, x, np.ones_like(c), c)


def sub(site: Site) -> Operand:
    """Convert Sub."""
    x, c, constant_first = _split(site)
    if c is None:
        return _tensors(site)
    return _affine(site, x, -np.ones_like(c), c) if constant_first else _affine(site, x, np.ones_like(c), -c)


def mul(site: Site) -> Operand:
    """Convert Mul."""
    x, c, _ = _split(site)
    return _tensors(site) if c is None else _affine(site, x, c, np.zeros_like(c))


def div(site: Site) -> Operand:
    """Convert Div by a constant."""
    x, c, constant_first = _split(site)
    if c is None or constant_first or not np.all(c):
        raise site.unsupported("its divisor is not a constant without zeros", "an activation / a constant")
    return _affine(site, x, 1 / c, np.zeros_like(c))


def sum_(site: Site) -> Operand:
    """Convert Sum of activations to a chain of Add."""
    total, last = site.tensor(), len(site.operands) - 1
    for i in range(1, last + 1):
        _check_same(site, total, site.tensor(i))
        step = "" if i == last else f"sum{i}"
        total = site.emit("Add", [total, site.tensor(i)], shape_of(total), step=step)
    return total


def _split(site: Site) -> tuple[ir.Value, Array | None, bool]:
    """Give the activation, the constant if there is one, and whether the constant stands first."""
    a, b = site.operand(0), site.operand(1)
    if isinstance(a, ir.Value) and isinstance(b, ir.Value):
        return a, None, False
    constant_first = isinstance(b, ir.Value)
    x, c = site.tensor(int(constant_first)), site.weight(int(not constant_first))
    return x, _per_channel(site, c, shape_of(x)), constant_first


def _per_channel(site: Site, c: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast a constant to one float64 value per channel."""
    padded = (1,) * (len(shape) - c.ndim) + c.shape
    if len(shape) < 2 or padded not in ((1,) * len(shape), (1, shape[1]) + (1,) * (len(shape) - 2)):
        raise site.unsupported(
            f"a constant of shape {list(c.shape)} with an activation {list(shape)}",
            "a scalar, or one value per channel",
        )
    return np.broadcast_to(c.reshape(-1), shape[1]).astype(np.float64)


def _affine(site: Site, x: ir.Value, scale: Array, shift: Array) -> Operand:
    return site.emit("Affine", [x], shape_of(x), weights=[("scale", scale), ("shift", shift)])


def _tensors(site: Site) -> Operand:
    a, b = site.tensor(0), site.tensor(1)
    _check_same(site, a, b)
    return site.emit(site.op, [a, b], shape_of(a))


def _check_same(site: Site, a: ir.Value, b: ir.Value) -> None:
    if shape_of(a) != shape_of(b):
        raise site.unsupported(
            f"activations of shapes {list(shape_of(a))} and {list(shape_of(b))}", "activations of one shape"
        )


CONVERTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div, "Sum": sum_}
