"""Owns one choice per layer under a budget: the least total harm. Arrays in, places out.

layer      cost  4 2 1   harm  0 0.3 0.9      slack 1 over the cheapest, 1 + 1        ->  1, 2
layer      cost  6 2 1   harm  0 0.1 0.2
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 20_000
"""Into so many parts what there is to spend is cut; a layer's cost is rounded up to whole ones."""

TINY = 1e-9
"""Of a step: what float arithmetic may add to a cost that is a whole number of them."""


def pick(costs: Sequence[Array], harms: Sequence[Array], slack: float) -> list[int]:
    """Pick one option of each layer: least total harm, total cost at most `slack` above the cheapest ones.

    Exact but for rounding: a multiple-choice knapsack by dynamic programming. Every layer gets its cheapest
    option first, what is left of the budget is cut into STEPS, and costs are rounded up, so that the answer always
    fits; it is at least as good as the best one for a budget smaller by one step per layer. What rounding left over
    then goes, exactly, where it undoes most harm.

    Shapes: costs and harms alike, [options] for each layer
    """
    above = [cost - cost.min() for cost in costs]
    return spend([(above, slack)], harms, _knapsack(costs, harms, slack))


def _knapsack(costs: Sequence[Array], harms: Sequence[Array], slack: float) -> list[int]:
    """Pick one option of each row: least total harm, total cost at most `slack` above the cheapest ones."""
    step = slack / STEPS
    excess = [
        np.ceil((cost - cost.min()) / step - TINY) if step > 0 else np.where(cost > cost.min(), np.inf, 0.0)
        for cost in costs
    ]
    best = np.zeros(STEPS + 1)  # least harm of the layers so far by steps spent, at most
    picks = []
    for spent, harm in zip(excess, harms, strict=True):
        rows = np.full((len(spent), STEPS + 1), np.inf)
        for row, steps, loss in zip(rows, spent, harm, strict=True):
            if steps <= STEPS:
                row[int(steps) :] = best[: STEPS + 1 - int(steps)] + loss
        picks.append(rows.argmin(axis=0))
        best = rows.min(axis=0)
    left, chosen = STEPS, []
    for pick, spent in zip(reversed(picks), reversed(excess), strict=True):
        i = int(pick[left])
        chosen.append(i)
        left -= int(spent[i])
    return chosen[::-1]


def spend(
    budgets: Sequence[tuple[Sequence[Array], float]], harms: Sequence[Array], picks: Sequence[int]
) -> list[int]:
    """Spend what a choice leaves of every budget: while some less harmful option fits, take the one that gains most.

    Shapes: budgets, each the costs and what they may be in sum; costs and harms alike, [options] for each layer
    """

    def more(row: int, i: int, j: int) -> list[float]:
        return [float(costs[row][j] - costs[row][i]) for costs, _ in budgets]

    picks = list(picks)
    left = [
        limit * (1 + TINY) - sum(float(cost[i]) for cost, i in zip(costs, picks, strict=True))
        for costs, limit in budgets
    ]
    while True:
        better = [
            (harm[i] - harm[j], row, j)
            for row, (harm, i) in enumerate(zip(harms, picks, strict=True))
            for j in range(len(harm))
            if harm[j] < harm[i]
            and all(cost <= rest for cost, rest in zip(more(row, i, j), left, strict=True))
        ]
        if not better:
            return picks
        _, row, j = max(better)
        left = [rest - cost for cost, rest in zip(more(row, picks[row], j), left, strict=True)]
        picks[row] = j
