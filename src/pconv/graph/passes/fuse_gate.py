"""Recognise activations that an export wrote as a product of a value and its gate.

x * Sigmoid(x)                =>    Activation(silu)
x * Clip(x / 6 + 1/2, 0, 1)   =>    Activation(hardswish); also where the 6 stands elsewhere
"""

from math import isclose

import onnx_ir as ir

from ..edit import absorb, factor_of, get, is_op, line_of, put, sole_consumer, source


def fuse_gate(graph: ir.Graph) -> None:
    """Turn every such product into one activation; what computed the gate is then dead."""
    for node in list(graph):
        if not is_op(node, "Mul"):
            continue
        gates = ((_gate(source(node, 1 - i), source(node, i)), i) for i in (0, 1))
        found = next(((*gate, i) for gate, i in gates if gate), None)
        if found is None:
            continue
        kind, factor, i = found
        after = sole_consumer(node)
        scaled = after is not None and _is_one(factor * factor_of(after))
        if not scaled and not _is_one(factor):
            continue
        x = source(node, i)
        node.resize_inputs(1)
        node.replace_input_with(0, x)
        node.op_type = "Activation"
        put(node, activation=kind)
        if scaled and after is not None:
            absorb(node, after)


def _gate(value: ir.Value, x: ir.Value) -> tuple[str, float] | None:
    """Give the activation and the factor f of a gate g, so that x * g(x) = f * activation(x)."""
    factor = 1.0
    node = value.producer()
    if node is not None and (scale := factor_of(node)):
        factor, node = scale, source(node).producer()
    if node is None or not is_op(node, "Activation"):
        return None
    if get(node, "activation") == "sigmoid" and source(node) is x:
        return "silu", factor
    before = source(node).producer()
    if get(node, "activation") != "clip" or before is None or source(before) is not x:
        return None
    low, high, line = node.attributes["act_min"].value, node.attributes["act_max"].value, line_of(before)
    if low or line is None or not isclose(6 * line[0], high, rel_tol=1e-5):
        return None
    return ("hardswish", factor * high) if isclose(2 * line[1], high, rel_tol=1e-5) else None


def _is_one(factor: float) -> bool:
    return isclose(factor, 1.0, rel_tol=1e-5)
