"""Rates per layer instead of one for all: what each rate harms, measured, and the rates that do least harm together.

images --sensitivity--> a curve for each layer --spread_rates--> a recipe with [layers], as small as the uniform one
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pconv.calibration import check_statistics, choose_mask, enough_images, gather, refit
from pconv.errors import RecipeError, UnsupportedError
from pconv.knapsack import pick, spend
from pconv.masks import check_finite, resolve_libraries
from pconv.progress import Progress
from pconv.recipe import LayerInfo, LayerRule, Recipe, plan_layers
from pconv.wrappers import copied, unwrap

from .base import as_array
from .distillation import relative_error
from .layers import describe_layers, find_layers, require_numbers, require_prunable
from .post_training import as_batch, find_sites
from .tracing import require_runs

Array = NDArray[Any]
Unit = Literal["weights", "macs"]

RATES = (2.25, 2.6, 3.0, 3.6, 4.0, 4.5, 5.2, 6.0, 7.2, 9.0, 12.0, 18.0)
MEASURED = 4
"""Rates of each layer for which the network runs; the layer's own error tells of those between them."""
_HALVINGS = 20  # of the price of a multiply-add
_DIGITS = 4  # of a rate in a recipe: enough to name a number of kernels
_TINY = 1e-9


@dataclass(frozen=True)
class Curve:
    """Say what a layer costs when it is dense, and what each rate of it harms."""

    weights: int
    macs: int
    rate: float  # the recipe's own
    harm: Mapping[float, float]  # by rate, after rounding to whole kernels; a dense layer does none

    def dense(self, unit: Unit) -> int:
        """Give what the dense layer costs."""
        return self.weights if unit == "weights" else self.macs

    def rates(self) -> list[float]:
        """List what can be chosen, dense first."""
        return [1.0, *self.harm]


def sensitivity(
    module: nn.Module,
    images: Tensor | Iterable[Tensor],
    recipe: Recipe | None = None,
    *,
    rates: Sequence[float] = RATES,
    progress: Progress | None = None,
    seed: int = 0,
) -> dict[str, Curve]:
    """Measure what each rate harms each layer that the recipe prunes by rate: the error of the network's outputs.

    The layer alone is pruned, chosen and refitted as in `post_train`; the rest stays dense. The error is squared, over
    the outputs' variance. The network runs on the images for a few rates of each layer, without labels; between these
    the harm follows the error of the layer's own outputs, as a power. The module is left as it is.

    Shapes: images [n, c, h, w], or batches of that shape
    Raises: what `post_train` raises; UnsupportedError for a module with more than one output.
    """
    module = copied(unwrap(module)).eval().requires_grad_(False)
    every = as_batch(images)
    every = every[enough_images(len(every), every[0, 0].numel())].to(next(module.parameters()).device)
    layers = find_layers(module)
    require_numbers(layers)
    recipe = recipe or Recipe()
    rules = plan_layers(recipe, described := describe_layers(layers))
    infos = {info.name: info for info in described if _is_open(recipe, info, rules[info.name])}
    require_prunable(module, layers, infos)
    weights = {name: as_array(layer.weight) for name, layer in layers.items()}
    for name, array in weights.items():
        check_finite(name, array)
    libraries = resolve_libraries(weights, rules)
    before = copy.deepcopy(module.state_dict())
    require_runs(module, every)
    wanted = module(every.clone())  # it may change what it reads
    if not isinstance(wanted, Tensor):
        raise UnsupportedError(
            f"{type(module).__name__}: it gives a {type(wanted).__name__}; sensitivity compares one tensor. "
            "Wrap it in a module that gives the one that counts."
        )
    draw = np.random.default_rng(seed)
    found: dict[str, Curve] = {}
    open_layers = {name: layers[name] for name in infos}
    for site in find_sites(module, copied(module), open_layers, every, open_layers):
        if progress is not None:
            progress(f"sensitivity of {site.name}", len(found), len(infos))
        x, y = site.observe()
        statistics = gather(x, y, site.geometry, site.has_bias, draw)
        check_statistics(site.name, statistics)
        own = rules[site.name].compression_rate
        pruned = []
        for rule in _rules(recipe, infos[site.name], (own, *rates)):
            library = () if rule.patterns is None else libraries[rule.patterns]
            mask = choose_mask(site.weights, statistics, rule, library)
            pruned.append((rule.compression_rate, *refit(site.weights, mask, statistics)))
        measured = {}
        for i in sorted({round(i) for i in np.linspace(0, len(pruned) - 1, MEASURED)}):
            _, new, bias = pruned[i]
            site.replace(new, bias if site.has_bias else None)
            measured[i] = float(relative_error(module(every.clone()), wanted))
            module.load_state_dict(before)
        harm = _between(measured, [statistics.output_error(new - site.weights) for _, new, _ in pruned])
        size = int(site.weights.size)
        found[site.name] = Curve(
            size,
            size * y.size // (len(site.weights) * len(every)),
            own,
            dict(zip((rate for rate, *_ in pruned), harm, strict=True)),
        )
    return found


def spread_rates(
    recipe: Recipe, curves: Mapping[str, Curve], within: Sequence[Unit] = ("weights", "macs")
) -> Recipe:
    """Give every layer of the curves a rate of its own, with the least harm in sum.

    All together keep as few weights, and make do with as few multiply-adds, as they do at the recipe's own rates;
    `within` names one of the two alone. Within both the search is no exact one; it never does more harm than the
    recipe's own rates. Harm is added up over layers, which is a model: layers that are pruned together hurt more than
    the sum.

        curves = sensitivity(module, images, recipe)
        recipe = spread_rates(recipe, curves)

    Raises: RecipeError when `within` is something else.
    """
    if not within or not set(within) <= {"weights", "macs"}:
        raise RecipeError(f'within: {within!r} is no budget; allowed: "weights", "macs", or both')
    limits = {unit: sum(curve.dense(unit) / curve.rate for curve in curves.values()) for unit in within}
    costs = {
        unit: [curve.dense(unit) / np.array(curve.rates()) for curve in curves.values()] for unit in within
    }
    harms = [np.array([0.0, *curve.harm.values()]) for curve in curves.values()]
    found = [_pick(costs, harms, limits)]
    if all(curve.rate in curve.harm for curve in curves.values()):
        found.append([curve.rates().index(curve.rate) for curve in curves.values()])
    budgets = [(costs[unit], limits[unit]) for unit in limits]
    picked = min((spend(budgets, harms, picks) for picks in found), key=lambda picks: _sum(harms, picks))
    layers: dict[str, float | Literal["dense"]] = dict(recipe.layers)
    for (name, curve), i in zip(curves.items(), picked, strict=True):
        layers[name] = round(curve.rates()[i], _DIGITS) if i else "dense"
    return replace(recipe, layers=layers)


def _sum(values: Iterable[Array], picks: Iterable[int]) -> float:
    """Add up what was picked of each layer."""
    return sum(float(value[i]) for value, i in zip(values, picks, strict=True))


def _pick(costs: Mapping[Unit, list[Array]], harms: list[Array], limits: Mapping[Unit, float]) -> list[int]:
    """Pick an option of each layer; a second budget is met by a price on what it counts, as low as will do."""
    first, *second = limits
    slack = limits[first] - sum(float(cost.min()) for cost in costs[first])
    picked = pick(costs[first], harms, slack)
    for unit in second:
        shares = [cost / limits[unit] for cost in costs[unit]]

        def fits(picked: list[int], shares: list[Array] = shares) -> bool:
            return _sum(shares, picked) <= 1 + _TINY

        def priced(price: float, shares: list[Array] = shares) -> list[int]:
            dear = [harm + price * share for harm, share in zip(harms, shares, strict=True)]
            return pick(costs[first], dear, slack)

        if fits(picked):
            continue
        low, high = 0.0, 1.0
        while not fits(
            picked := priced(high)
        ):  # at a high price only this budget counts, and the own rates meet it
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if fits(trial := priced(middle)):
                picked, high = trial, middle
            else:
                low = middle
    return picked


def _between(measured: Mapping[int, float], errors: Sequence[float]) -> list[float]:
    """Give the harm of every rate, where some were measured: a power of the layer's own error from one to the next.

    Source: ours. For 18 layers of ResNet-20 the power is 1 to 1.5.
    """
    own = np.log(np.maximum(errors, _TINY))
    known = np.array(sorted((own[i], np.log(max(harm, _TINY))) for i, harm in measured.items()))
    guessed = np.exp(np.interp(own, known[:, 0], known[:, 1]))
    return [measured.get(i, float(guess)) for i, guess in enumerate(guessed)]


def _is_open(recipe: Recipe, info: LayerInfo, rule: LayerRule) -> bool:
    """Say whether the one rate for all is a layer's: it has no other, and connectivity is pruned."""
    fixed = info.is_first or info.kind == "depthwise" or any(name in recipe.layers for name in info.names)
    return not (rule.dense or fixed)


def _rules(recipe: Recipe, info: LayerInfo, rates: Iterable[float]) -> list[LayerRule]:
    """List what a layer can keep; rates that leave as many kernels are one."""
    alone = replace(recipe, exclude=())
    rules = [
        plan_layers(replace(alone, layers={info.name: rate}), [info])[info.name] for rate in sorted(rates)
    ]
    return list({rule.compression_rate: rule for rule in rules}.values())
