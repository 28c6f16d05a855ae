"""Gradual pruning: masks are chosen again and again while training, kernels go little by little, then it freezes.

steps  0 ....... each_step ........... ramp ........... freeze ................ end
shapes every mini-batch  |  now and then                |  held
kernels ic  ~~ cubic ~~~~~~~~~~~~~~~> keep              |  held
pruned weights get no gradient, and may come back       |  are zero for good
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pconv.errors import RecipeError
from pconv.recipe import LayerRule, Recipe
from pconv.sparsity import LayerSparsity

from .base import Masks, Pruner
from .choice import Choice
from .ranks import broadcast


class GradualPruner(Pruner):
    """Choose masks while training: at first for every mini-batch, later every `interval` steps, until they settle.

    `each_step`, `ramp` and `freeze` are shares of the planned steps: how long masks are chosen for every mini-batch,
    when connectivity has reached the recipe's rate by a cubic schedule, and when masks hold at the latest. From
    `ramp` on they hold as soon as the share of kernels per shape moves by less than `settle` (0..1). While they move, a
    pruned weight gets no gradient: it comes back where those that were kept instead have become smaller. The
    optimiser's weight decay still shrinks it, and its momentum from before moves it for some steps. If it learnt on in
    the dark, straight through its mask, masks would not come to rest.

    Raises: RecipeError for shares out of order, or an interval below 1.
    Source: PCONV (arXiv 1909.05073); the cubic schedule, and that pruned weights wait, are Zhu and Gupta's (arXiv
    1710.01878).
    """

    needs_steps = True

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        steps: int | None = None,
        *,
        each_step: float = 0.02,
        ramp: float = 0.4,
        freeze: float = 0.5,
        interval: int | None = None,
        settle: float = 0.001,
    ) -> None:
        super().__init__(module, recipe, steps)
        if not 0 <= each_step <= ramp <= freeze <= 1:
            raise RecipeError(
                f"gradual: each_step {each_step:g}, ramp {ramp:g}, freeze {freeze:g}; "
                "allowed are shares of the steps, 0 <= each_step <= ramp <= freeze <= 1"
            )
        if interval is not None and interval < 1:
            raise RecipeError(f"gradual: interval {interval}; allowed is a number of steps, 1 or more")
        self._each_step, self._ramp, self._freeze = each_step, ramp, freeze
        self._interval = interval
        self._settle_below = settle
        self._frozen = False
        self._shares: dict[int, float] = {}
        self._choice: Choice | None = None

    def select(self, step: int) -> Masks | None:
        """Choose again where the schedule says so."""
        done = step / self.planned_steps
        interval = self._interval or max(1, self.planned_steps // 100)
        if self._frozen or not (done <= self._each_step or step % interval == 0 or done >= self._freeze):
            return None
        return self._choose(done / self._ramp if done < self._ramp else 1.0, done >= self._freeze)

    def last(self) -> Masks | None:
        """Choose at the recipe's rates if training ended before the masks froze."""
        return None if self._frozen else self._choose(1.0, freeze=True)

    def settled(self) -> bool:
        """Say whether the masks are frozen."""
        return self._frozen

    def extra_state(self) -> dict[str, Any]:
        """Give libraries, groups, and whether the masks hold."""
        assert self._choice is not None
        return {"frozen": self._frozen, "shares": dict(self._shares), "choice": self._choice.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        assert self._choice is not None
        self._frozen, self._shares = bool(state["frozen"]), dict(state["shares"])
        self._choice.load(state["choice"])

    def _choose(self, progress: float, freeze: bool) -> Masks:
        weights = self.weights()
        if self._choice is None:
            self._choice = Choice(weights, self.rules)
        self._choice.shrink(weights, progress)
        rules = {name: _relaxed(rule, progress) for name, rule in self.rules.items()}
        masks = self._choice.masks(weights, rules)
        at_rest = freeze or (progress == 1.0 and self._at_rest(masks))
        frozen = torch.tensor(at_rest, device=next(iter(self.layers.values())).weight.device)
        broadcast([frozen])  # all ranks hold rank 0's masks: those rest, or not
        self._frozen = bool(frozen)
        return masks

    def _at_rest(self, masks: Masks) -> bool:
        shaped = [masks[name] for name, rule in self.rules.items() if rule.patterns is not None]
        before, self._shares = self._shares, _shape_shares(shaped)
        moved = sum(
            abs(self._shares.get(b, 0) - before.get(b, 0)) for b in self._shares.keys() | before.keys()
        )
        return moved / 2 < self._settle_below


def _relaxed(rule: LayerRule, progress: float) -> LayerRule:
    """Keep more kernels than the rule asks, down to its number at progress 1, fast at first."""
    ic, block = rule.shape[1], rule.channel_block
    extra = int((ic - rule.keep) * (1.0 - progress) ** 3 / block) * block
    return replace(rule, keep=rule.keep + extra)


def _shape_shares(masks: Iterable[NDArray[np.bool_]]) -> dict[int, float]:
    """Count how the kept kernels of layers with patterns divide among the shapes."""
    counts: Counter[int] = Counter()
    for mask in masks:
        counts.update(LayerSparsity.detect(mask).patterns)
    return {bits: count / counts.total() for bits, count in counts.items()}
