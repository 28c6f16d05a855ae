"""Functions of one number: most are an Activation, others that between two Affine."""

from functools import partial

import numpy as np
import onnx_ir as ir

from ..nodes import Shape
from ..site import Operand, Site, shape_of

_MOST_FACTORS = 16
_LARGEST = float(np.finfo(np.float32).max)


def clip(site: Site) -> Operand:
    """Convert Clip; its bounds are attributes before opset 11. An open side becomes the largest float32.

    Where the lower bound is above the upper one, all becomes the upper one.
    """
    high = _bound(site, "max", 2, _LARGEST)
    low = min(_bound(site, "min", 1, -_LARGEST), high)
    if (low, high) == (-_LARGEST, _LARGEST):
        return site.tensor()
    if (low, high) == (0.0, _LARGEST):
        return _activation(site, "relu")
    return _activation(site, "clip", low, high)


def leaky_relu(site: Site) -> Operand:
    """Convert LeakyRelu."""
    return _activation(site, "leaky", site.attr("alpha", 0.01))


def elu(site: Site) -> Operand:
    """Convert Elu."""
    return _activation(site, "elu", site.attr("alpha", 1.0))


def selu(site: Site) -> Operand:
    """Convert Selu: gamma * elu(x)."""
    alpha, gamma = (
        site.attr("alpha", 1.67326319217681884765625),
        site.attr("gamma", 1.05070102214813232421875),
    )
    return site.scaled(_activation(site, "elu", alpha, step="elu"), gamma)


def celu(site: Site) -> Operand:
    """Convert Celu: alpha * elu(x / alpha)."""
    alpha = site.attr("alpha", 1.0)
    if not alpha > 0:
        raise site.unsupported(f"its alpha is {alpha}", "more than 0")
    inner = site.scaled(site.tensor(), 1 / alpha, step="scale")
    return site.scaled(_activation(site, "elu", 1.0, step="elu", x=inner), alpha)


def hard_sigmoid(site: Site) -> Operand:
    """Convert HardSigmoid: a clipped line."""
    line = site.scaled(site.tensor(), site.attr("alpha", 0.2), site.attr("beta", 0.5), step="line")
    return _activation(site, "clip", 0.0, 1.0, x=line)


def gelu(site: Site) -> Operand:
    """Convert Gelu, or its approximation x * (tanh(cubic of x) + 1) / 2."""
    return _activation(site, "gelutanh" if site.attr("approximate", "none") == "tanh" else "gelu")


def mish(site: Site) -> Operand:
    """Convert Mish: x * tanh(softplus(x))."""
    x = site.tensor()
    gate = _activation(site, "tanh", step="gate", x=_activation(site, "softplus", step="softplus"))
    return site.emit("Mul", [x, gate], shape_of(x))


def swish(site: Site) -> Operand:
    """Convert Swish: x * sigmoid(alpha * x)."""
    alpha, x = site.attr("alpha", 1.0), site.tensor()
    if alpha == 1.0:
        return _activation(site, "silu")
    gate = _activation(site, "sigmoid", step="gate", x=site.scaled(x, alpha, step="scale"))
    return site.emit("Mul", [x, gate], shape_of(x))


def neg(site: Site) -> Operand:
    """Convert Neg."""
    return site.scaled(site.tensor(), -1.0)


def absolute(site: Site) -> Operand:
    """Convert Abs: a leaky ReLU that turns around."""
    return _activation(site, "leaky", -1.0)


def power(site: Site) -> Operand:
    """Convert Pow with one constant exponent: products, a root, or exp(exponent * log x).

    The last is of numbers of at least 0, as ONNX has it for exponents that are not whole.
    """
    x, exponent = site.tensor(), site.weight(1)
    if exponent.size > 1:
        raise site.unsupported(f"its exponent has shape {list(exponent.shape)}", "one number")
    value, shape = float(exponent.reshape(-1)[0]), shape_of(x)
    size = abs(value)
    if value in (0.5, 1):
        return _activation(site, "sqrt") if value == 0.5 else x
    if size == 0.5:
        y = _activation(site, "sqrt", step="root")
    elif size == int(size) and 1 <= size <= _MOST_FACTORS:
        y = _product(site, x, int(size), "" if value > 0 else "product")
    elif value == int(value):
        raise site.unsupported(
            f"its exponent is {value:g}", f"whole ones from 1 to {_MOST_FACTORS}, or fractions"
        )
    else:
        line = site.scaled(_activation(site, "log", step="log"), value, step="times")
        return _activation(site, "exp", x=line)
    return y if value > 0 else site.emit("Div", [_ones(site, shape), y], shape)


def _product(site: Site, x: ir.Value, count: int, step: str) -> ir.Value:
    """Append x * x * ..., by squares where that is less."""
    if count == 1:
        return x
    half = _product(site, x, count // 2, f"{step or 'power'}.{count // 2}")
    even = site.emit("Mul", [half, half], shape_of(x), step=f"{step or 'power'}.even" if count % 2 else step)
    return site.emit("Mul", [even, x], shape_of(x), step=step) if count % 2 else even


def reciprocal(site: Site) -> Operand:
    """Convert Reciprocal."""
    shape = shape_of(site.tensor())
    return site.emit("Div", [_ones(site, shape), site.tensor()], shape)


def softsign(site: Site) -> Operand:
    """Convert Softsign: x / (1 + abs(x))."""
    x = site.tensor()
    size = site.scaled(_activation(site, "leaky", -1.0, step="abs"), 1.0, 1.0, step="positive")
    return site.emit("Div", [x, size], shape_of(x))


def ceil(site: Site) -> Operand:
    """Convert Ceil: floor between two changes of sign."""
    minus = site.scaled(site.tensor(), -1.0, step="minus")
    return site.scaled(_activation(site, "floor", step="floor", x=minus), -1.0)


def sign(site: Site) -> Operand:
    """Convert Sign: whether it is above 0, less whether it is below."""
    x = site.tensor()
    below = _activation(site, "above", step="below", x=site.scaled(x, -1.0, step="minus"))
    return site.emit("Sub", [_activation(site, "above", step="above"), below], shape_of(x))


def _ones(site: Site, shape: Shape) -> ir.Value:
    return site.constant_value(np.ones(1), shape, "one")


def _bound(site: Site, name: str, i: int, default: float) -> float:
    value = site.attr(name)
    if value is None and (array := site.constant(i)) is not None:
        value = array.item()
    if value is not None and np.isnan(value):
        raise site.malformed(f"its {name} is not a number")
    return default if value is None else float(np.clip(value, -_LARGEST, _LARGEST))


def _activation(
    site: Site,
    kind: str,
    low: float = 0.0,
    high: float = 0.0,
    *,
    step: str = "",
    x: ir.Value | None = None,
) -> ir.Value:
    x = site.tensor() if x is None else x
    return site.emit("Activation", [x], shape_of(x), step=step, activation=kind, act_min=low, act_max=high)


_PLAIN = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "HardSwish": "hardswish",
    "Erf": "erf",
    "Exp": "exp",
    "Softplus": "softplus",
    "Sqrt": "sqrt",
    "Log": "log",
    "Floor": "floor",
    "Round": "round",
}

CONVERTERS = {
    **{op: partial(_activation, kind=kind) for op, kind in _PLAIN.items()},
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "HardSigmoid": hard_sigmoid,
    "Gelu": gelu,
    "Mish": mish,
    "Swish": swish,
    "Neg": neg,
    "Abs": absolute,
    "Pow": power,
    "Reciprocal": reciprocal,
    "Softsign": softsign,
    "Ceil": ceil,
    "Sign": sign,
}
