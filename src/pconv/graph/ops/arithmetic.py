"""Add, Sub, Mul, Div, Sum.

Two activations -> Add, Sub, Mul, Div, the second of which may lack planes or pixels; an activation and a constant
(scalar or per channel; any other is a Constant beside the activation) -> Affine:

    x + c -> x * 1 + c        c - x -> x * -1 + c        x * c -> x * c + 0        x / c -> x * (1 / c) + 0
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of


def add(site: Site) -> Operand:
    """Convert Add."""
    x, c, _ = _operands(site)
    return _tensors(site) if c is None else _affine(site, x, np.ones_like(c), c)


def sub(site: Site) -> Operand:
    """Convert Sub."""
    x, c, constant_first = _operands(site)
    if c is None:
        return _tensors(site)
    return _affine(site, x, -np.ones_like(c), c) if constant_first else _affine(site, x, np.ones_like(c), -c)


def mul(site: Site) -> Operand:
    """Convert Mul."""
    x, c, _ = _operands(site)
    return _tensors(site) if c is None else _affine(site, x, c, np.zeros_like(c))


def div(site: Site) -> Operand:
    """Convert Div."""
    x, c, constant_first = _operands(site)
    if c is None:
        return _tensors(site)
    if constant_first:
        return _tensors(site)
    if not np.all(c):
        raise site.unsupported("its divisor has zeros", "a constant without zeros")
    return _affine(site, x, 1 / c, np.zeros_like(c))


def sum_(site: Site) -> Operand:
    """Convert Sum to a chain of Add, the widest operand first; constants are brought to its shape."""
    shape = max((shape_of(x) for x in site.operands if isinstance(x, ir.Value)), key=prod)
    parts = [site.either(i, shape) for i in range(len(site.operands))]
    total, *others = sorted(parts, key=lambda part: shape_of(part) != shape)
    for i, part in enumerate(others, 1):
        if not _covers(total, part):
            shapes = [list(shape_of(each)) for each in parts]
            raise site.unsupported(f"activations of shapes {shapes}", "activations of one shape")
        step = "" if i == len(others) else f"sum{i}"
        total = site.emit("Add", [total, part], shape, step=step)
    return total


def _operands(site: Site) -> tuple[ir.Value, Array | None, bool]:
    """Give the activation, the constant per channel if there is one, and whether the constant stands first."""
    a, b = site.operand(0), site.operand(1)
    if isinstance(a, ir.Value) and isinstance(b, ir.Value):
        return a, None, False
    constant_first = isinstance(b, ir.Value)
    x, c = site.tensor(int(constant_first)), site.weight(int(not constant_first))
    return x, site.per_channel(c, shape_of(x)), constant_first


def _affine(site: Site, x: ir.Value, scale: Array, shift: Array) -> Operand:
    return site.emit("Affine", [x], shape_of(x), weights=[("scale", scale), ("shift", shift)])


def _tensors(site: Site) -> Operand:
    shape = next(shape_of(x) for x in site.operands if isinstance(x, ir.Value))
    a, b, op = site.either(0, shape), site.either(1, shape), site.op
    if not _covers(a, b) and _covers(b, a) and op != "Div":
        if op == "Sub":  # a - b = -b + a
            ones = np.ones(shape_of(b)[1])
            b = site.emit(
                "Affine", [b], shape_of(b), step="minus", weights=[("scale", -ones), ("shift", 0 * ones)]
            )
            op = "Add"
        a, b = b, a
    if not _covers(a, b):
        raise site.unsupported(
            f"activations of shapes {list(shape_of(a))} and {list(shape_of(b))}",
            "one shape, or an image [n, c, h, w] with [n, c, 1, 1], [n, 1, h, w] or [n, 1, 1, 1]",
        )
    return site.emit(op, [a, b], shape_of(a))


def _covers(a: ir.Value, b: ir.Value) -> bool:
    """Tell whether each element of `a` has its value in `b`, by the element, the plane, the pixel, or the sample."""
    one, other = shape_of(a), shape_of(b)
    if one == other:
        return True
    images = len(one) == len(other) == 4
    return images and other[1] in (one[1], 1) and other[2:] in (one[2:], (1, 1))


CONVERTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div, "Sum": sum_}
