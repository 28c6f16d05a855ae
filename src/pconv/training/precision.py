"""Mixed precision where the device gains by it: which type, and the scaling that fp16 needs."""

from __future__ import annotations

import torch

from pconv.training.settings import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the type that convolutions compute in; None is fp32.

    GPUs take bf16, or fp16 where they lack it. CPUs gain with AMX only: without it, autocast's conversions
    cost more than the narrower products save.
    """
    if precision != "auto":
        return _TYPES.get(precision)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return torch.bfloat16 if device.type == "cpu" and amx() else None


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """Return the context in which a network runs forward."""
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def scaler(device: torch.device, dtype: torch.dtype | None) -> torch.amp.GradScaler:
    """Return what keeps fp16's small gradients from vanishing; it does nothing for other types."""
    return torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
