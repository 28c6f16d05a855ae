"""Mixed precision where the device gains by it: which type, and the scaling that fp16 needs."""

from __future__ import annotations

import torch

from pconv.training.settings import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_MULTIPLIES_BF16 = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
"""What torch.cpu is asked; older ones lack the question."""


def choose_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the type that convolutions compute in; None is fp32.

    GPUs take bf16, or fp16 where they lack it. CPUs gain where they multiply bf16 themselves, with AMX or AVX-512:
    elsewhere autocast's conversions cost more than the narrower products save.
    """
    if precision != "auto":
        return _TYPES.get(precision)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and any(getattr(torch.cpu, has, lambda: False)() for has in _MULTIPLIES_BF16):
        return torch.bfloat16
    return None


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """Return the context in which a network runs forward."""
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def scaler(device: torch.device, dtype: torch.dtype | None) -> torch.amp.GradScaler:
    """Return what keeps fp16's small gradients from vanishing; it does nothing for other types."""
    return torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
