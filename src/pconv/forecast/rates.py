"""From rates that were found to a recipe that gives exactly them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pconv.forecast.search import Found
from pconv.forecast.table import DENSE_RATE, Table, make_recipe
from pconv.recipe import LayerInfo, Recipe, plan_layers

_PER_LAYER = ("rate_1x1", "rate_fc", "exclude", "layers")


def recipe_of(found: Found, table: Table, infos: Sequence[LayerInfo]) -> Recipe:
    """Write a recipe with a rate, or "dense", for every layer of the model."""
    shared = {name: value for name, value in table.settings.items() if name not in _PER_LAYER}
    base = make_recipe(shared, DENSE_RATE, found.group)
    rates = {info.name: found.rates.get(info.name, DENSE_RATE) for info in infos}
    layers: dict[str, float | Literal["dense"]] = {
        info.name: "dense" if rates[info.name] == DENSE_RATE else _short(base, info, rates[info.name])
        for info in infos
    }
    return replace(base, layers=layers)


def _short(base: Recipe, info: LayerInfo, rate: float) -> float:
    """Round a rate as a person would write it, where that keeps the same number of kernels."""
    short = round(rate, 2)
    rule = plan_layers(replace(base, layers={info.name: short}), [info])[info.name]
    return short if rule.compression_rate == rate else rate
