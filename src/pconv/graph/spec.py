"""What the normalised graph may contain: one line an operator.

This table is the contract between the import and the lowering; `passes/check_normalised.py` enforces it.
"""

from dataclasses import dataclass
from types import MappingProxyType

DOMAIN = "pconv"
RISING = (
    *("none", "relu", "clip", "tanh", "sigmoid", "elu", "erf", "softplus", "exp", "sqrt", "log"),
    *("above", "atleast", "floor", "round", "trunc"),
)
ACTIVATIONS = (*RISING, "leaky", "hardswish", "silu", "gelu", "gelutanh", "quickgelu")


def never_falls(activation: str, act_min: float) -> bool:
    """Say whether a larger number never gives a smaller one; elu turns round where its depth is negative."""
    return activation in RISING and (activation != "elu" or act_min >= 0)


AttrValue = int | float | str | tuple[int, ...]
Attrs = dict[str, AttrValue]

ACTIVATION_DEFAULTS: Attrs = {"activation": "none", "act_min": 0.0, "act_max": 0.0}


@dataclass(frozen=True, slots=True)
class OpSpec:
    """State how an operator looks: which inputs are weights, and every attribute with its default.

    `tensors` counts the inputs computed at run time, (least, most); `weights` are the positions of constants.
    """

    tensors: tuple[int, int]
    weights: tuple[int, ...]
    attrs: Attrs


_WINDOW: Attrs = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0)}
_CONV: Attrs = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1, "pool": ""}
_SUBSAMPLE: Attrs = {"starts": (0, 0, 0), "steps": (1, 1), "sizes": (0, 0, 0), "channel_pad": (0, 0)}
_MANY = 1 << 30

OPS = MappingProxyType(
    {
        "Conv": OpSpec((1, 2), (1, 2), _CONV | ACTIVATION_DEFAULTS),
        "Gemm": OpSpec((1, 1), (1, 2), dict(ACTIVATION_DEFAULTS)),
        "MaxPool": OpSpec((1, 1), (), dict(_WINDOW)),
        "AveragePool": OpSpec((1, 1), (), _WINDOW | {"count_include_pad": 0}),
        "GlobalAveragePool": OpSpec((1, 1), (), {"sum": 0}),
        "Add": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Sub": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Mul": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Div": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Keep": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Max": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Min": OpSpec((2, 2), (), dict(ACTIVATION_DEFAULTS)),
        "Activation": OpSpec((1, 1), (), dict(ACTIVATION_DEFAULTS)),
        "Affine": OpSpec((1, 1), (1, 2), dict(ACTIVATION_DEFAULTS)),
        "PRelu": OpSpec((1, 1), (1,), dict(ACTIVATION_DEFAULTS)),
        "Constant": OpSpec((0, 0), (0,), {}),
        "Concat": OpSpec((1, _MANY), (), {}),
        "MatMul": OpSpec((2, 2), (), {"transpose_a": 0, "transpose_b": 0, "scale": 1.0}),
        "Softmax": OpSpec((1, 1), (), {"axis": 1}),
        "ArgMax": OpSpec((1, 1), (), {}),
        "Flatten": OpSpec((1, 1), (), {}),
        "DepthToSpace": OpSpec((1, 1), (), {"blocksize": 1, "mode": "DCR"}),
        "Subsample": OpSpec((1, 1), (), _SUBSAMPLE),
        "Pad": OpSpec((1, 1), (), {"pads": (0, 0, 0, 0), "mode": "constant"}),
        "Resize": OpSpec((1, 1), (1, 2), {}),
        "Transpose": OpSpec((1, 1), (), {"perm": (0,)}),
        "ChannelShuffle": OpSpec((1, 1), (), {"group": 1}),
    }
)
