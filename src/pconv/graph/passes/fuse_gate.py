"""Recognise activations that an export wrote as a product of a value and its gate.

x * Sigmoid(x)                              =>    Activation(silu)
x * Sigmoid(1.702 x)                        =>    Activation(quickgelu)
x * Clip(x / 6 + 1/2, 0, 1)                 =>    Activation(hardswish)
x * (Erf(x / sqrt 2) + 1) / 2               =>    Activation(gelu)
x * (Tanh(0.798 x + 0.0357 x^3) + 1) / 2    =>    Activation(gelutanh)

Also where the 6 or the 2 stands elsewhere: with either factor, or behind the product. What a gate is a function of is a
polynomial of x, however it is written; and tanh(p) + 1 is 2 * sigmoid(2 p).
"""

from math import isclose, pi, sqrt

import numpy as np
import onnx_ir as ir
from numpy.polynomial import polynomial

from ..edit import absorb, factor_of, get, is_op, line_of, put, sole_consumer, source
from ..site import Array

_ACTIVATIONS = (
    ("silu", "sigmoid", (0, 1, 0, 0)),
    ("quickgelu", "sigmoid", (0, 1.702, 0, 0)),
    ("gelutanh", "sigmoid", (0, sqrt(8 / pi), 0, sqrt(8 / pi) * 0.044715)),
    ("hardswish", "clip", (1 / 2, 1 / 6, 0, 0)),
    ("gelu", "erf", (0, sqrt(1 / 2), 0, 0)),
)
"""Activations x * g(p(x)): what the gate is, and the coefficients of p, the constant first."""
_COMBINED = {"Add": polynomial.polyadd, "Sub": polynomial.polysub, "Mul": polynomial.polymul}
_MOST_STEPS = 8
"""As many nodes may stand between a polynomial and its x."""


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
    inner = _polynomial(source(node), x) if node is not None and is_op(node, "Activation") else None
    if node is None or inner is None:
        return None
    kind = get(node, "activation")
    if kind in ("tanh", "erf"):
        if scale != shift:
            return None
        scale, shift = 2 * scale, 0.0
    if kind == "tanh":
        kind, inner = "sigmoid", 2 * inner
    if kind == "clip":
        high = node.attributes["act_max"].value
        if node.attributes["act_min"].value or high <= 0:
            return None
        scale, inner = scale * high, inner / high
    coefficients = np.pad(inner, (0, 4 - len(inner)))
    return next(
        (
            (activation, scale)
            for activation, function, wanted in _ACTIVATIONS
            if function == kind and not shift and np.allclose(coefficients, wanted, rtol=1e-5, atol=0)
        ),
        None,
    )


def _line(value: ir.Value) -> tuple[ir.Value, float, float]:
    """Give the value from which lines lead to another, and their scale and shift."""
    scale, shift = 1.0, 0.0
    while (node := value.producer()) is not None and (line := line_of(node)) is not None:
        value, scale, shift = source(node), scale * line[0], shift + scale * line[1]
    return value, scale, shift


def _polynomial(value: ir.Value, x: ir.Value, steps: int = _MOST_STEPS) -> Array | None:
    """Give the coefficients of a polynomial of x up to x^3; None where a value is none."""
    if value is x:
        return np.array([0.0, 1.0])
    node = value.producer()
    if node is None or not steps:
        return None
    if (line := line_of(node)) is not None:
        inner = _polynomial(source(node), x, steps - 1)
        return None if inner is None else polynomial.polyadd(line[0] * inner, [line[1]])
    if not is_op(node, *_COMBINED) or (a := _polynomial(source(node, 0), x, steps - 1)) is None:
        return None
    b = _polynomial(source(node, 1), x, steps - 1)
    made: Array | None = None if b is None else _COMBINED[node.op_type](a, b)
    return made if made is not None and len(made) <= 4 else None


def _is_one(factor: float) -> bool:
    return isclose(factor, 1.0, rel_tol=1e-5)
