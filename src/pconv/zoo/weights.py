"""State dicts from files or memory, in the shapes in which people publish them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from pconv.errors import ModelError


def load_weights(name: str, module: nn.Module, weights: str | Path | Mapping[str, Tensor]) -> None:
    """Load a state dict into a network; every name must fit.

    Accepts a plain state dict or one under "state_dict", with or without data-parallel training's "module.".

    Raises: ModelError when the file cannot be read, or when names or shapes do not fit.
    """
    found: Mapping[str, Any] = weights if isinstance(weights, Mapping) else _read(name, Path(weights))
    state = found.get("state_dict", found)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(
            f"{name}: the weights are not a state dict of tensors; pass what module.state_dict() gives."
        )
    try:
        module.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        reason = shorten(reasons[0].rstrip("."), 200, placeholder=" ...")
        raise ModelError(
            f"{name}: the weights do not fit: {reason}{more}; check the network's name and num_classes."
        ) from error


def _read(name: str, path: Path) -> Mapping[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{name}: cannot read weights {path}: {error.strerror}.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name}: {path} is not a readable state dict; "
            "save one with torch.save(module.state_dict(), path)."
        ) from error
    return state if isinstance(state, Mapping) else {"": state}
