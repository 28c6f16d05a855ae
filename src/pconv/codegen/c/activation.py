"""Activations as C expressions, on vectors and on single floats. What is not a number stays that."""

from pconv.codegen.c.prelude import number
from pconv.lower.kernels import Activation

_NAMED = {
    "floor": "__builtin_floorf",
    "round": "__builtin_rintf",
    "trunc": "__builtin_truncf",
    "exp": "full_exp_f32",
}
_COMPARED = {"above": ">", "atleast": ">="}


def apply_vector(activation: Activation, variable: str) -> str:
    """Return the statement that activates a vector variable in place."""
    v, zero, low, high = variable, "(vf){0}", number(activation.low), number(activation.high)
    match activation.kind:
        case "none":
            return ""
        case "relu":
            return f"{v} = VMAX({v}, {zero});"
        case "clip":
            return f"{v} = VMIN(VMAX({v}, SPLAT({low})), SPLAT({high}));"
        case "leaky":
            return f"{v} = VMAX({v}, {zero}) + SPLAT({low}) * VMIN({v}, {zero});"
        case "hardswish":
            gate = f"{v} * SPLAT(1.0f / 6.0f) + SPLAT(0.5f)"
            return f"{v} *= VMIN(VMAX({gate}, {zero}), SPLAT(1.0f));"
        case "elu":
            below = f"vf below = VMIN({v}, {zero}); EACH(exp_f32, below);"
            return f"{{ {below} {v} = VMAX({v}, {zero}) + SPLAT({low}) * (below - SPLAT(1.0f)); }}"
        case "above" | "atleast" as kind:
            return f"{v} = (vf)(({v} {_COMPARED[kind]} SPLAT({low})) & (vi)SPLAT(1.0f));"
        case kind:
            return f"EACH({_NAMED.get(kind, f'{kind}_f32')}, {v});"


def apply_scalar(activation: Activation, variable: str) -> str:
    """Return the statement that activates a float in place."""
    v, low, high = variable, number(activation.low), number(activation.high)
    match activation.kind:
        case "none":
            return ""
        case "relu":
            return f"{v} = {v} < 0 ? 0 : {v};"
        case "clip":
            return f"{v} = {v} < {low} ? {low} : {v} > {high} ? {high} : {v};"
        case "leaky":
            return f"{v} = {v} < 0 ? {low} * {v} : {v};"
        case "hardswish":
            gate = f"{v} * (1.0f / 6.0f) + 0.5f"
            return f"{{ float gate = {gate}; {v} *= gate < 0 ? 0 : gate > 1 ? 1 : gate; }}"
        case "elu":
            return f"{v} = {v} < 0 ? {low} * (exp_f32({v}) - 1.0f) : {v};"
        case "above" | "atleast" as kind:
            return f"{v} = {v} {_COMPARED[kind]} {low};"
        case kind:
            return f"{v} = {_NAMED.get(kind, f'{kind}_f32')}({v});"
