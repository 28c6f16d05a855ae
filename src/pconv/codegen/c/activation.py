"""Activations as C expressions, on vectors and on single floats."""

from pconv.codegen.c.prelude import number
from pconv.lower.kernels import Activation


def apply_vector(activation: Activation, variable: str) -> str:
    """Return the statement that activates a vector variable in place."""
    v, kind = variable, activation.kind
    if kind == "none":
        return ""
    if kind == "relu":
        return f"{v} = VMAX({v}, (vf){{0}});"
    if kind == "clip":
        low, high = number(activation.low), number(activation.high)
        return f"{v} = VMIN(VMAX({v}, SPLAT({low})), SPLAT({high}));"
    return f"for (int i = 0; i < LANES; i++) {v}[i] = {kind}_f32({v}[i]);"


def apply_scalar(activation: Activation, variable: str) -> str:
    """Return the statement that activates a float in place."""
    v, kind = variable, activation.kind
    if kind == "none":
        return ""
    if kind == "relu":
        return f"{v} = {v} > 0 ? {v} : 0;"
    if kind == "clip":
        low, high = number(activation.low), number(activation.high)
        return f"{v} = {v} < {low} ? {low} : {v} > {high} ? {high} : {v};"
    return f"{v} = {kind}_f32({v});"
