"""The frame of every pruning method: masks live in the module as parametrizations from prepare to finish.

Owns the mechanics; a method overrides `select` and nothing else. The training loop stays the user's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pconv.masks import check_finite
from pconv.recipe import LayerRule, Recipe, plan_layers
from pconv.sparsity import SparsityMap

from .layers import WEIGHT, Layer, describe_layers, find_layers, require_prunable

Masks = Mapping[str, NDArray[np.bool_]]


class Mask(nn.Module):
    """Hold a weight at zero where its mask is False, whatever the optimiser does underneath."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        # Not a product: 0 * inf is NaN, and -1 * 0 is a negative zero.
        return torch.where(self.mask, weight, torch.zeros((), dtype=weight.dtype, device=weight.device))


class Pruner(ABC):
    """Prune a module in place: `prepare()`, then `step()` after each optimiser step, then `finish()`.

    Raises: RecipeError when the recipe does not fit the module; ModelError when its weights cannot be pruned.
    """

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self.layers: dict[str, Layer] = find_layers(module)
        self.rules: dict[str, LayerRule] = plan_layers(recipe, describe_layers(self.layers))
        self.steps = 0
        self._masks: dict[str, Mask] = {}
        require_prunable(module, self.layers, self.rules)

    @abstractmethod
    def select(self, step: int) -> Masks | None:
        """Choose the masks of all layers after `step` steps (0 = in `prepare`), or None to leave them.

        `weights()` and `rules` are what there is to choose by.
        """

    def weights(self) -> dict[str, NDArray[Any]]:
        """Give every layer's weights as they stand under the masks: a pruned weight can come back."""
        return {name: _array(self._trained(name)) for name in self.layers}

    def prepare(self) -> None:
        """Put a mask on every layer that the recipe prunes; the zeros hold from here on."""
        for name, array in self.weights().items():
            check_finite(name, array)
        masks = self.select(0) or {}
        for name, layer in self.layers.items():
            if not self.rules[name].dense:
                mask = masks.get(name, np.broadcast_to(np.True_, self.rules[name].shape))
                self._masks[name] = Mask(_tensor(mask, layer.weight.device))
                parametrize.register_parametrization(layer, WEIGHT, self._masks[name])

    def step(self) -> None:
        """Tell the method that the optimiser made a step; the zeros hold without it as well."""
        self.steps += 1
        chosen = self.select(self.steps)
        if chosen is not None:
            for name, holder in self._masks.items():
                holder.mask.copy_(_tensor(chosen[name], holder.mask.device))

    def sparsity(self) -> SparsityMap:
        """Map what every layer may keep at this moment."""
        masks = {name: np.broadcast_to(np.True_, rule.shape) for name, rule in self.rules.items()}
        return SparsityMap.detect(
            masks | {name: held.mask.cpu().numpy() for name, held in self._masks.items()}
        )

    def finish(self) -> SparsityMap:
        """Leave plain weights that contain the zeros, and no mask; return the map of them."""
        for name in self._masks:
            layer = self.layers[name]
            if parametrize.is_parametrized(layer, WEIGHT):
                _own_class(layer)
                parametrize.remove_parametrizations(layer, WEIGHT, leave_parametrized=True)
                _move_to_front(layer, WEIGHT)
        return self.sparsity()

    def _trained(self, name: str) -> Tensor:
        layer = self.layers[name]
        if not parametrize.is_parametrized(layer, WEIGHT):
            return layer.weight
        return layer.get_parameter(f"parametrizations.{WEIGHT}.original")


def _array(weight: Tensor) -> NDArray[Any]:
    weight = weight.detach().cpu()
    return (weight.float() if weight.dtype in (torch.bfloat16, torch.float16) else weight).numpy()


def _tensor(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    return torch.tensor(np.ascontiguousarray(mask), device=device)


def _own_class(layer: Layer) -> None:
    """Unshare the class that torch made for the masked layer: a deepcopy has it too; removal empties it."""
    shared = type(layer)
    layer.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))


def _move_to_front(layer: Layer, first: str) -> None:
    """Restore the order of parameters: optimiser states and files made before pruning go by it."""
    for key, parameter in list(layer.named_parameters(recurse=False)):
        if key != first:
            delattr(layer, key)
            layer.register_parameter(key, parameter)
