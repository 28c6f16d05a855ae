"""Add, Sub, Mul, Div, Sum.

Two activations -> Add, Sub, Mul, Div, the second of which may lack planes or pixels (what lacks rows alone is spread
first, what is no image is made one); an activation and a constant (scalar or per channel; any other is a Constant
beside the activation) -> Affine:

    x + c -> x * 1 + c        c - x -> x * -1 + c        x * c -> x * c + 0        x / c -> x * (1 / c) + 0

41 * (1 / 41) may be below 1: what is divided and then rounded or compared stays a Div, of a Constant.
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..nodes import Shape
from ..shapes import FLOATS
from ..site import Array, Operand, Site, shape_of
from .expand import spread

_ORDERED = ("Div", "Keep")
"""Operators whose operands do not change places."""
_LAYERS = {"BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul"}
_STEPS = {"Ceil", "Floor", "Round", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
_KEEPING = {"Cast", "Clip", "Concat", "Flatten", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that keep whole numbers as they are, or within bounds."""


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
    powers_of_two = np.all(np.abs(np.frexp(c)[0]) == 0.5)
    if not powers_of_two and not _follows_layer(site.node) and _meets_step(site.node.outputs[0]):
        shape = (1, c.size, *(1,) * (len(shape_of(x)) - 2))
        return combined(site, "Div", x, site.constant_value(c.reshape(shape), shape, "constant1"))
    return _affine(site, x, 1 / c, np.zeros_like(c))


def sum_(site: Site) -> Operand:
    """Convert Sum to a chain of Add, the widest operand first; constants are brought to its shape."""
    shape = max((shape_of(x) for x in site.operands if isinstance(x, ir.Value)), key=prod)
    total, *others = sorted(
        (site.either(i, shape) for i in range(len(site.operands))), key=lambda part: shape_of(part) != shape
    )
    for i, part in enumerate(others, 1):
        total = combined(site, "Add", total, part, "" if i == len(others) else f"sum{i}")
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


def _follows_layer(node: ir.Node) -> bool:
    """Tell whether a node reads what a layer gives whose weights take up a division; that is rounded already."""
    producer = None if node.inputs[0] is None else node.inputs[0].producer()
    return producer is not None and producer.op_type in _LAYERS


def _meets_step(value: ir.Value) -> bool:
    """Tell whether a value is rounded or compared, where a little less may be another answer."""
    return any(
        _is_step(node) or (node.op_type in _KEEPING and _meets_step(node.outputs[0]))
        for node, _ in value.uses()
    )


def _is_step(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int()) not in FLOATS
    return node.op_type in _STEPS


def _tensors(site: Site) -> Operand:
    shape = next(shape_of(x) for x in site.operands if isinstance(x, ir.Value))
    return combined(site, site.op, site.either(0, shape), site.either(1, shape))


def combined(site: Site, op: str, a: ir.Value, b: ir.Value, step: str = "") -> ir.Value:
    """Append an operator of two activations, each of which may lack dimensions that the other has."""
    shape = _common(site, a, b)
    if shape_of(a) != shape and shape_of(b) == shape and op not in _ORDERED:
        if op == "Sub":  # a - b = -b + a
            b, op = site.scaled(b, -1.0, step=f"{step}.minus" if step else "minus"), "Add"
        a, b = b, a
    a = spread(site, a, shape, f"{step or 'first'}.wide")
    one, other = _as_images(site, a, b, step or "second")
    apart = shape_of(one) != shape
    y = site.emit(op, [one, other], shape_of(one), step=f"{step or op.lower()}.image" if apart else step)
    return site.reshape(y, shape, step)


def _common(site: Site, a: ir.Value, b: ir.Value) -> Shape:
    """Give the shape that two activations are brought to."""
    one, other = shape_of(a), shape_of(b)
    if len(one) != len(other) or any(x != y and 1 not in (x, y) for x, y in zip(one, other, strict=True)):
        raise site.unsupported(
            f"activations of shapes {list(one)} and {list(other)}",
            "sizes that are equal or 1, and one rank where the batch is open",
        )
    return tuple(max(size) for size in zip(one, other, strict=True))


def _as_images(site: Site, a: ir.Value, b: ir.Value, step: str) -> tuple[ir.Value, ir.Value]:
    """Give both as one shape, or as an image and what has a value for each plane, each pixel, or nothing."""
    shape, other = shape_of(a), shape_of(b)
    if shape == other:
        return a, b
    if len(shape) == 4:
        size = shape[2:] if other[2:] != (1, 1) else (1, 1)
        return a, spread(site, b, (1, other[1], *size), f"{step}.wide")
    missing = [size == 1 for size, full in zip(other[1:], shape[1:], strict=True) if full > 1]
    inner = missing.index(not missing[0]) if len(set(missing)) > 1 else 0
    if missing != sorted(missing, reverse=missing[0]):
        return a, spread(site, b, shape, f"{step}.wide")
    sizes = [size for size in shape[1:] if size > 1]
    image = (1, prod(sizes[:inner]), prod(sizes[inner:-1]), sizes[-1])
    less = (1, 1, *image[2:]) if missing[0] and inner else (*image[:2], 1, 1)
    return site.reshape(a, image, f"{step}.planes"), site.reshape(b, less, f"{step}.less")


CONVERTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div, "Sum": sum_}
