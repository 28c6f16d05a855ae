"""Recognise activations that an export wrote as a product of a value and its gate.

x * Sigmoid(x)                    =>    Activation(silu)
x * Clip(x / 6 + 1/2, 0, 1)       =>    Activation(hardswish)
x * (Erf(x / sqrt 2) + 1) / 2     =>    Activation(gelu)

Also where the 6 or the 2 stands elsewhere: with either factor, or behind the product.
"""

from math import isclose

import onnx_ir as ir

from ..edit import absorb, factor_of, get, is_op, line_of, put, sole_consumer, source


def fuse_gate(graph: ir.Graph) -> None:
    """Turn every such product into one activation; what computed the gate is then dead."""
    for node in list(graph):
        if not is_op(node, "Mul"):
            continue
        gated = (
            (x, factor * gate[1], gate[0])
            for i in (0, 1)
            for x, factor in _multiples(source(node, i))
            if (gate := _gate(source(node, 1 - i), x)) is not None
        )
        if (found := next(gated, None)) is None:
            continue
        x, factor, kind = found
        after = sole_consumer(node)
        scaled = after is not None and _is_one(factor * factor_of(after))
        if not scaled and not _is_one(factor):
            continue
        node.resize_inputs(1)
        node.replace_input_with(0, x)
        node.op_type = "Activation"
        put(node, activation=kind)
        if scaled and after is not None:
            absorb(node, after)


def _multiples(value: ir.Value) -> list[tuple[ir.Value, float]]:
    """Give what a value may be a multiple of, and how many times that it is: itself, and what was multiplied."""
    node = value.producer()
    factor = 0.0 if node is None else factor_of(node)
    return [(value, 1.0), *([(source(node), factor)] if node is not None and factor else [])]


def _gate(value: ir.Value, x: ir.Value) -> tuple[str, float] | None:
    """Give the activation and the factor f of a gate g, so that x * g(x) = f * activation(x)."""
    gate, scale, shift = _line(value)
    node = gate.producer()
    if node is None or not is_op(node, "Activation"):
        return None
    inner, slope, offset = _line(source(node), x)
    if inner is not x:
        return None
    match get(node, "activation"):
        case "sigmoid" if _is_one(slope) and not offset and not shift:
            return "silu", scale
        case "clip" if not node.attributes["act_min"].value and not shift:
            high = node.attributes["act_max"].value
            found = isclose(6 * slope, high, rel_tol=1e-5) and isclose(2 * offset, high, rel_tol=1e-5)
            return ("hardswish", scale * high) if found else None
        case "erf" if _is_one(2 * slope * slope) and slope > 0 and not offset and scale == shift:
            return "gelu", 2 * scale
    return None


def _line(value: ir.Value, x: ir.Value | None = None) -> tuple[ir.Value, float, float]:
    """Give the value from which lines lead to another, x at the farthest, and their scale and shift."""
    scale, shift = 1.0, 0.0
    while value is not x and (node := value.producer()) is not None and (line := line_of(node)) is not None:
        value, scale, shift = source(node), scale * line[0], shift + scale * line[1]
    return value, scale, shift


def _is_one(factor: float) -> bool:
    return isclose(factor, 1.0, rel_tol=1e-5)
