"""The frame of every pruning method: masks live in the module as parametrizations from prepare to finish.

Owns the mechanics; a method overrides `select`, and where it needs them `last`, `settled`, `penalty`, `extra_state`
and `load_extra_state`. The training loop stays the user's.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pconv.errors import ModelError, RecipeError
from pconv.masks import check_finite
from pconv.recipe import LayerRule, Recipe, leave_dense, plan_layers
from pconv.sparsity import SparsityMap
from pconv.wrappers import unwrap

from .layers import (
    WEIGHT,
    Layer,
    describe_layers,
    find_layers,
    require_numbers,
    require_prunable,
    with_own_forward,
)
from .mask import Mask, attach, detach
from .ranks import broadcast

Masks = Mapping[str, NDArray[np.bool_]]
STATE_FORMAT = 1
log = logging.getLogger("pconv.pruning")


class Pruner(ABC):
    """Prune a module in place: `prepare()`, then `step()` after each optimiser step, then `finish()`.

    `steps` is how many optimiser steps are planned; the schedules of a method are shares of it. A module wrapped
    in DistributedDataParallel is pruned inside, with the same masks on all ranks.

    Raises: RecipeError when the recipe does not fit the module, or the method needs `steps` and has none;
    ModelError when the module's weights cannot be pruned.
    """

    needs_steps: ClassVar[bool] = False

    def __init__(self, module: nn.Module, recipe: Recipe, steps: int | None = None) -> None:
        if self.needs_steps and (steps is None or steps < 1):
            raise RecipeError(
                f"{type(self).__name__}: it follows a schedule; allowed is steps=N, the number of optimiser steps "
                "that you plan (epochs * batches)."
            )
        self.planned_steps = steps or 0
        self.steps_done = 0
        self.module = unwrap(module)
        self.layers: dict[str, Layer] = find_layers(self.module)
        require_numbers(self.layers)
        self.rules: dict[str, LayerRule] = plan_layers(recipe, describe_layers(self.layers))
        self._masks: dict[str, Mask] = {}

    @abstractmethod
    def select(self, step: int) -> Masks | None:
        """Choose the masks of all layers after `step` steps (0 = in `prepare`), or None to leave them.

        `weights()` and `rules` are what there is to choose by.
        """

    def last(self) -> Masks | None:
        """Choose the final masks if that has not happened yet: training may end early. None = it has."""
        return None

    def settled(self) -> bool:
        """Say whether the masks hold for good."""
        return True

    def penalty(self) -> Tensor:
        """Give the scalar to add to the loss: zero where a method has none."""
        return next(iter(self.layers.values())).weight.new_zeros(())

    def extra_state(self) -> dict[str, Any]:
        """Give what a method needs to go on, besides masks and counter."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most methods have none
        """Take back what `extra_state` gave."""

    def pruned(self) -> list[str]:
        """List the layers that get a mask."""
        return [name for name, rule in self.rules.items() if not rule.dense]

    def weights(self) -> dict[str, NDArray[Any]]:
        """Give every layer's weights as they stand under the masks, where a pruned one is what it last was."""
        return {name: as_array(self.trained(name)) for name in self.layers}

    def trained(self, name: str) -> Tensor:
        """Give the tensor that the optimiser trains for a layer: the weight under its mask."""
        layer = self.layers[name]
        if name not in self._masks or not parametrize.is_parametrized(layer, WEIGHT):
            return layer.weight
        return layer.get_parameter(f"parametrizations.{WEIGHT}.original")

    def prepare(self) -> None:
        """Put a mask on every layer that is to be pruned; the zeros hold from here on.

        Layers whose class has a forward of its own are warned of: it may not multiply by what is masked.

        Raises: ModelError when weights are not finite, shared or computed.
        """
        require_prunable(self.module, self.layers, self.pruned())
        _warn(with_own_forward(self.layers, self.pruned()))
        for name, array in self.weights().items():
            check_finite(name, array)
        chosen = self.select(0) or {}
        for name in self.pruned():
            layer = self.layers[name]
            mask = chosen.get(name, np.broadcast_to(np.True_, layer.weight.shape))
            self._masks[name] = Mask(_as_tensor(mask, layer.weight))
            attach(layer, WEIGHT, self._masks[name])
        self._share()

    def step(self) -> None:
        """Tell the method that the optimiser made a step; the zeros hold without it as well."""
        self.steps_done += 1
        self._apply(self.select(self.steps_done))

    def sparsity(self) -> SparsityMap:
        """Map what every layer may keep at this moment."""
        masks = {name: np.broadcast_to(np.True_, layer.weight.shape) for name, layer in self.layers.items()}
        return SparsityMap.detect(
            masks | {name: held.mask.cpu().numpy() for name, held in self._masks.items()}
        )

    def finish(self) -> SparsityMap:
        """Leave plain weights that contain the zeros, and no mask; return the map of them."""
        if any(parametrize.is_parametrized(self.layers[name], WEIGHT) for name in self._masks):
            self._apply(self.last())
        for name in self._masks:
            layer = self.layers[name]
            if parametrize.is_parametrized(layer, WEIGHT):
                detach(layer, WEIGHT)
        return self.sparsity()

    def state_dict(self) -> dict[str, Any]:
        """Give everything that goes on exactly where this stands, beside the module's and optimiser's own state.

        Tensors, numbers and texts only: `torch.load(..., weights_only=True)` reads it.
        """
        return {
            "format": STATE_FORMAT,
            "method": type(self).__name__,
            "planned_steps": self.planned_steps,
            "steps_done": self.steps_done,
            "rules": {name: asdict(rule) for name, rule in self.rules.items()},
            "masks": {name: held.mask.clone() for name, held in self._masks.items()},
            "extra": self.extra_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()` of a prepared pruner of the same method, network and recipe, on any device.

        Raises: ModelError when the state is another method's, network's, recipe's or format's.
        """
        for key, here in (("format", STATE_FORMAT), ("method", type(self).__name__)):
            if state.get(key) != here:
                raise ModelError(
                    f"pruner state: {key} {state.get(key)!r}; allowed {here!r}. Resume with what wrote it."
                )
        masks: Mapping[str, Tensor] = state["masks"]
        here_shapes = {name: held.mask.shape for name, held in self._masks.items()}
        if {name: mask.shape for name, mask in masks.items()} != here_shapes:
            raise ModelError(
                f"pruner state: its {len(masks)} pruned layers are not the {len(here_shapes)} of this module; "
                "allowed is a prepared pruner with the same network and recipe."
            )
        self._require_rules(state["rules"])
        self.planned_steps, self.steps_done = int(state["planned_steps"]), int(state["steps_done"])
        for name, held in self._masks.items():
            held.mask.copy_(masks[name])
        self.load_extra_state(state["extra"])
        self._share()

    def _require_rules(self, there: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse a state that was to end elsewhere. Raises: ModelError for the first layer with another rule."""
        for name, rule in self.rules.items():
            here = asdict(rule)
            if odd := [key for key, value in there.get(name, here).items() if here.get(key, value) != value]:
                raise ModelError(
                    f"pruner state: {name} has {odd[0]} {there[name][odd[0]]!r} in it; allowed is {here[odd[0]]!r}, "
                    "as this pruner's recipe asks. Resume with the recipe that it was made with."
                )

    def _apply(self, chosen: Masks | None) -> None:
        if chosen is not None:
            for name, held in self._masks.items():
                held.mask.copy_(_as_tensor(chosen[name], held.mask))
            self._share()

    def _share(self) -> None:
        """Give all ranks the same masks, after they changed."""
        broadcast(held.mask for held in self._masks.values())


def as_array(weight: Tensor) -> NDArray[Any]:
    """Give a weight as an array; 16-bit floats come as float32."""
    weight = weight.detach().cpu()
    return (weight.float() if weight.dtype in (torch.bfloat16, torch.float16) else weight).numpy()


def _warn(own: Mapping[str, str]) -> None:
    """Say once which layers may not multiply by the weights that are pruned."""
    if own:
        (name, kind), *others = own.items()
        more = f" and {len(others)} more" if others else ""
        log.warning(
            f"{name} ({kind}){more}: its class has a forward of its own. Where that computes weights anew, as weight "
            "standardisation does, pruned ones are not zero, and pconv.export refuses the map. "
            f"{leave_dense(*own)}"
        )


def _as_tensor(mask: NDArray[np.bool_], like: Tensor) -> Tensor:
    """Give a mask on a tensor's device and in its layout: what it masks keeps that layout."""
    return torch.empty_like(like, dtype=torch.bool).copy_(torch.from_numpy(np.array(mask)))
