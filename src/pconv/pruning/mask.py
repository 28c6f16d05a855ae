"""The mask that lives in a layer while it is pruned, as a parametrization of its weight."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pconv.wrappers import own_class


class Mask(nn.Module):
    """Hold a weight at zero where its mask is False, whatever the optimiser does underneath."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return masked(weight, self.mask)


def attach(layer: nn.Module, name: str, mask: Mask) -> None:
    """Put a mask on a parameter, which stays the same object to optimisers and to DistributedDataParallel.

    torch sets the parameter to itself on the way, which would cut it from the hooks that add gradients up over
    ranks; so for that moment there is nothing to set.
    """
    parameter = getattr(layer, name)
    parameter.set_ = lambda same: same
    try:
        parametrize.register_parametrization(layer, name, mask)
    finally:
        del parameter.set_


def detach(layer: nn.Module, name: str) -> None:
    """Take the mask off a parameter, which holds the zeros from here on.

    They are written into it as it is: torch would give it other memory, and so cut those same hooks.
    """
    with torch.no_grad():
        layer.get_parameter(f"parametrizations.{name}.original").copy_(getattr(layer, name))
    own_class(layer)
    parametrize.remove_parametrizations(layer, name, leave_parametrized=False)
    _move_to_front(layer, name)


def masked(weight: Tensor, mask: Tensor) -> Tensor:
    """Put zeros where the mask is False.

    Not a product: 0 * inf is NaN, and -1 * 0 is a negative zero.
    """
    return torch.where(mask, weight, torch.zeros((), dtype=weight.dtype, device=weight.device))


def _move_to_front(layer: nn.Module, first: str) -> None:
    """Restore the order of parameters: optimiser states and files made before pruning go by it."""
    for key, parameter in list(layer.named_parameters(recurse=False)):
        if key != first:
            delattr(layer, key)
            layer.register_parameter(key, parameter)
