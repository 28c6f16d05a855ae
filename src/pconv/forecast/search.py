"""Owns the search for rates per layer under a budget: numbers in, numbers out.

layer      options: cost, harm                 budget 7          the least harm that fits
conv1      1x: 4, 0    4x: 2, 0.3                        ->      conv1 4x, conv2 8x: cost 3 + rest 4
conv2      1x: 6, 0    8x: 1, 0.2    16x: 0.9, 0.6
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pconv.errors import PconvError
from pconv.forecast.table import Option, Table
from pconv.knapsack import pick

Sensitivity = Mapping[str, Mapping[float, float]]
"""Harm by layer and rate, e.g. the share of energy lost; what it lacks is never chosen, but for rate 1: no harm."""


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost: milliseconds, or multiply-adds of the kept weights."""

    unit: Literal["ms", "macs"]
    limit: float

    def cost(self, option: Option) -> float:
        """Return what an option costs of this budget."""
        return option.ms if self.unit == "ms" else option.macs

    def text(self, value: float | None = None) -> str:
        """Write an amount, the limit by default."""
        amount = self.limit if value is None else value
        return f"{amount:.3g} ms" if self.unit == "ms" else f"{amount / 1e6:,.4g} M multiply-adds"


@dataclass(frozen=True)
class Found:
    """The rates that were found for one group, what they should cost, and their total harm."""

    group: int
    rates: Mapping[str, float]
    ms: float
    macs: int
    harm: float


def search_rates(table: Table, sensitivity: Sensitivity, budget: Budget, group: int) -> Found:
    """Choose a rate for every layer of a measured table: the least total harm that the budget allows.

    Raises: PconvError when the budget is out of reach; the message names the least that is not.
    """
    options = _allowed(table, sensitivity, group)
    least = least_cost(table, sensitivity, budget, group)
    if least > budget.limit:
        raise PconvError(
            f"a budget of {budget.text()} is out of reach; the least reachable is {budget.text(_round_up(least))} "
            f"(groups of {group}). Allow more, or measure higher rates or larger groups: pconv forecast "
            "--compression --group."
        )
    costs = [np.array([budget.cost(option) for option in choices]) for choices in options.values()]
    harms = [
        np.array([_harm(sensitivity, name, option) for option in choices])
        for name, choices in options.items()
    ]
    slack = budget.limit - least
    picked = pick(costs, harms, slack)
    chosen = {name: choices[i] for (name, choices), i in zip(options.items(), picked, strict=True)}
    return Found(
        group,
        {name: option.rate for name, option in chosen.items()},
        table.rest_ms(group) + sum(option.ms for option in chosen.values()),
        table.dense.rest_macs + sum(option.macs for option in chosen.values()),
        sum(_harm(sensitivity, name, option) for name, option in chosen.items()),
    )


def search_groups(table: Table, sensitivities: Mapping[int, Sensitivity], budget: Budget) -> Found:
    """Search in every group that has a sensitivity, and return what does the least harm.

    Raises: PconvError when the budget is out of reach in all of them: the error of the one that gets nearest.
    """
    within = [
        group
        for group, known in sensitivities.items()
        if least_cost(table, known, budget, group) <= budget.limit
    ]
    nearest = min(sensitivities, key=lambda group: least_cost(table, sensitivities[group], budget, group))
    found = [search_rates(table, sensitivities[group], budget, group) for group in within or [nearest]]
    return min(found, key=lambda one: one.harm)


def _allowed(table: Table, sensitivity: Sensitivity, group: int) -> dict[str, list[Option]]:
    """List the options whose harm is known."""
    return {
        name: [option for option in choices if _harm(sensitivity, name, option) < math.inf]
        for name, choices in table.options(group).items()
    }


def least_cost(table: Table, sensitivity: Sensitivity, budget: Budget, group: int) -> float:
    """Return what the network costs with the cheapest option of every layer."""
    options = _allowed(table, sensitivity, group)
    return _rest(table, budget, group) + sum(min(map(budget.cost, choices)) for choices in options.values())


def _rest(table: Table, budget: Budget, group: int) -> float:
    return table.rest_ms(group) if budget.unit == "ms" else table.dense.rest_macs


def _round_up(value: float) -> float:
    """Round to three significant digits, never down: what an error names must be reachable."""
    unit: float = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / unit) * unit


def _harm(sensitivity: Sensitivity, name: str, option: Option) -> float:
    known = sensitivity.get(name, {}).get(option.rate)
    if known is None:
        return 0.0 if option.rate == 1.0 else math.inf
    return known
