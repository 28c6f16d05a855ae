"""Relu, Clip (so ReLU6), Tanh, Sigmoid -> Activation."""

import numpy as np

from ..site import Operand, Site, shape_of

_LARGEST = float(np.finfo(np.float32).max)


def relu(site: Site) -> Operand:
    """Convert Relu."""
    return _activation(site, "relu")


def tanh(site: Site) -> Operand:
    """Convert Tanh."""
    return _activation(site, "tanh")


def sigmoid(site: Site) -> Operand:
    """Convert Sigmoid."""
    return _activation(site, "sigmoid")


def clip(site: Site) -> Operand:
    """Convert Clip; its bounds are attributes before opset 11. An open side becomes the largest float32."""
    low, high = _bound(site, "min", 1, -_LARGEST), _bound(site, "max", 2, _LARGEST)
    if (low, high) == (-_LARGEST, _LARGEST):
        return site.tensor()
    if (low, high) == (0.0, _LARGEST):
        return _activation(site, "relu")
    return _activation(site, "clip", low, high)


def _bound(site: Site, name: str, i: int, default: float) -> float:
    value = site.attr(name)
    if value is None and (array := site.constant(i)) is not None:
        value = array.item()
    if value is not None and np.isnan(value):
        raise site.malformed(f"its {name} is not a number")
    return default if value is None else float(np.clip(value, -_LARGEST, _LARGEST))


def _activation(site: Site, kind: str, low: float = 0.0, high: float = 0.0) -> Operand:
    x = site.tensor()
    return site.emit("Activation", [x], shape_of(x), activation=kind, act_min=low, act_max=high)


CONVERTERS = {"Relu": relu, "Clip": clip, "Tanh": tanh, "Sigmoid": sigmoid}
