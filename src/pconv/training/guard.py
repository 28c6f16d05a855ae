"""NaN and infinity: stop before they are saved, and say which layer they came from."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pconv.errors import PconvError

ADVICE = "Resume from the last checkpoint with a smaller --lr, a longer --warmup or --precision fp32."


def check_loss(value: float, step: int, module: nn.Module, forward: Callable[[], object]) -> None:
    """Refuse a loss that is not finite; `forward` runs the same batch again, to find the layer.

    Raises: PconvError naming the first layer whose output was not finite.
    """
    if math.isfinite(value):
        return
    layer = first_not_finite(module, forward)
    where = f"the output of {layer} was the first to be" if layer else "the loss itself was"
    raise PconvError(f"step {step}: the loss is {value}; {where} not finite. {ADVICE}")


def check_weights(step: int, module: nn.Module) -> None:
    """Refuse to save weights or statistics that are not finite.

    Raises: PconvError naming the first one.
    """
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise PconvError(f"step {step}: {name} is no longer finite and was not saved. {ADVICE}")


def cannot_train(error: ValueError, images: int) -> PconvError:
    """Say what to change where a layer has nothing to train on: torch refuses a batch norm over a single number."""
    return PconvError(
        f"batch of {images} to a process: {error}. Give a larger --batch, or pictures of a larger --image-size."
    )


def first_not_finite(module: nn.Module, forward: Callable[[], object]) -> str | None:
    """Run a network once more, and name the first layer, innermost, whose output is not finite."""
    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(layer: nn.Module, inputs: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(name)

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in module.named_modules() if name]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in hooks:
            handle.remove()
    return found[0].removesuffix(".parametrizations.weight.0") if found else None
