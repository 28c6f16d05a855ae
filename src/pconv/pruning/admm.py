"""ADMM: training pulls every weight toward the nearest legal point, ever harder; then masks are cut and held.

loss + rho/2 |W - Z + U|^2 + rho/2 |W - Y + V|^2      Z: nearest with legal shapes        U, V: the duals
                                                      Y: nearest with legal connectivity
every few epochs:   Z = project(W + U),  U += W - Z   (and Y, V alike)
by stages:          rho x 10,  U / 10,  V / 10
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pconv.errors import RecipeError
from pconv.recipe import LayerRule, Recipe

from .base import Masks, Pruner, as_array
from .choice import Choice
from .mask import masked
from .ranks import broadcast


@dataclass
class Split:
    """One constraint: its rules, and per layer the auxiliary copy (Z or Y) and its dual (U or V)."""

    rules: dict[str, LayerRule]
    nearest: dict[str, Tensor] = field(default_factory=dict)
    dual: dict[str, Tensor] = field(default_factory=dict)


class AdmmPruner(Pruner):
    """Train toward the masks by ADMM, cut hard after `phase` of the planned steps, and retrain under the masks.

    Add `penalty()` to the loss. rho starts at `rho` and grows by `growth` in each of `stages`; Z, Y, U and V are
    updated `updates` times a stage. U and V are scaled duals, the duals over rho: where rho grows, they shrink.

    Raises: RecipeError for a phase out of 0..1, a schedule without stages and updates, or a rho or growth that is not
    positive.
    Source: PatDNN (arXiv 2001.00138), extended ADMM; the scaled duals are Boyd et al. (2011), 3.4.1.
    """

    needs_steps = True

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        steps: int | None = None,
        *,
        phase: float = 0.5,
        stages: int = 4,
        updates: int = 3,
        rho: float = 1e-4,
        growth: float = 10.0,
    ) -> None:
        super().__init__(module, recipe, steps)
        if not 0 < phase <= 1 or stages < 1 or updates < 1:
            raise RecipeError(
                f"admm: phase {phase:g}, stages {stages}, updates {updates}; allowed is a share of the steps, "
                "0 < phase <= 1, and at least one stage and update"
            )
        if not (0 < rho < math.inf and 0 < growth < math.inf):
            raise RecipeError(f"admm: rho {rho:g}, growth {growth:g}; allowed are numbers above 0")
        self._phase, self._stages, self._updates = phase, stages, updates
        self._rho, self._growth = rho, growth
        self._dual_rho = float(rho)  # that U and V are scaled by
        self._cut = False
        self._choice: Choice | None = None
        self._splits = {
            "shape": Split({n: replace(r, keep=r.shape[1]) for n, r in self.rules.items() if r.patterns}),
            "connectivity": Split(
                {n: replace(r, patterns=None) for n, r in self.rules.items() if r.keep < r.shape[1]}
            ),
        }

    @property
    def _end(self) -> int:
        return max(1, round(self._phase * self.planned_steps))

    @property
    def rho(self) -> float:
        """Give the present weight of the penalty."""
        stage = min(self._stages - 1, self.steps_done * self._stages // self._end)
        return float(self._rho * self._growth**stage)

    def select(self, step: int) -> Masks | None:
        """Cut once, at the end of the ADMM phase; until then move Z, Y, U and V."""
        if self._cut:
            return None
        if step >= self._end:
            return self.last()
        if step == 0 or self._updates_due(step) > self._updates_due(step - 1):
            self._update(step / self._end)
        self._rescale()
        return None

    def last(self) -> Masks | None:
        """Cut now, if that has not happened yet."""
        if self._cut:
            return None
        self._cut = True
        for split in self._splits.values():
            split.nearest.clear()
            split.dual.clear()
        return self._choices(1.0).masks(self.weights(), self.rules)

    def penalty(self) -> Tensor:
        """Give rho / 2 times the squared distances of all layers from Z - U and from Y - V."""
        total = super().penalty()
        self._follow()
        for split in self._splits.values():
            for name, nearest in split.nearest.items():
                apart = self.trained(name) - nearest + split.dual[name]
                total = total + apart.float().square().sum()
        return total * (self.rho / 2)

    def settled(self) -> bool:
        """Say whether the masks are cut."""
        return self._cut

    def extra_state(self) -> dict[str, Any]:
        """Give the auxiliary copies, the duals, and whether the masks are cut."""
        assert self._choice is not None
        splits = {
            kind: {"nearest": _copied(split.nearest), "dual": _copied(split.dual)}
            for kind, split in self._splits.items()
        }
        return {
            "cut": self._cut,
            "splits": splits,
            "choice": self._choice.state(),
            "dual_rho": self._dual_rho,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        assert self._choice is not None
        self._cut = bool(state["cut"])
        self._choice.load(state["choice"])
        for kind, split in self._splits.items():
            saved = state["splits"][kind]
            for mine, theirs in ((split.nearest, saved["nearest"]), (split.dual, saved["dual"])):
                mine.clear()
                mine.update(theirs)
        self._follow()
        self._dual_rho = float(state["dual_rho"])
        self._rescale()

    def _updates_due(self, step: int) -> int:
        """Count the updates that are due by a step, after the one at the start."""
        return step * self._stages * self._updates // self._end

    def _choices(self, progress: float) -> Choice:
        weights = self.weights()
        if self._choice is None:
            self._choice = Choice(weights, self.rules)
        self._choice.shrink(weights, progress)
        return self._choice

    def _follow(self) -> None:
        """Bring Z, Y, U and V to where the weights are: the module may have moved."""
        for split in self._splits.values():
            for tensors in (split.nearest, split.dual):
                for name, tensor in tensors.items():
                    tensors[name] = tensor.to(self.trained(name).device)

    def _rescale(self) -> None:
        """Keep the duals what they are where rho has changed."""
        factor, self._dual_rho = self._dual_rho / self.rho, self.rho
        if factor != 1.0:
            for split in self._splits.values():
                split.dual = {name: dual * factor for name, dual in split.dual.items()}

    @torch.no_grad()
    def _update(self, progress: float) -> None:
        choice = self._choices(progress)
        self._follow()
        for split in self._splits.values():
            weights = {name: self.trained(name).detach() for name in split.rules}
            if not split.dual:
                split.dual = {name: torch.zeros_like(weight) for name, weight in weights.items()}
            moved = {name: weight + split.dual[name] for name, weight in weights.items()}
            masks = choice.masks({name: as_array(tensor) for name, tensor in moved.items()}, split.rules)
            for name, point in moved.items():
                split.nearest[name] = masked(point, torch.from_numpy(masks[name].copy()).to(point.device))
                split.dual[name] = point - split.nearest[name] if progress else split.dual[name]
            broadcast([*split.nearest.values(), *split.dual.values()])


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}
