"""All layers in order: each is pruned and refitted on what the already pruned ones before it give.

images -> [pruned] -> [pruned] -> this layer: statistics, mask, refit -> [dense] -> [dense]
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pconv.masks import check_finite, resolve_libraries
from pconv.patterns import Pattern
from pconv.progress import Progress
from pconv.recipe import LayerRule

from .choice import choose_mask
from .refit import refit
from .statistics import Geometry, check_statistics, gather

Array = NDArray[Any]


class Site(Protocol):
    """One layer of a network that is being pruned, in the order of execution.

    `has_bias` says whether a constant can be added to each output channel: a bias, or a batch norm's mean.
    """

    name: str
    weights: Array  # [oc, ic / groups, kh, kw] or [out, in]
    geometry: Geometry
    has_bias: bool

    def observe(self) -> tuple[Array, Array]:
        """Give what the layer reads in the pruned network, and what it should give (without its bias's error)."""

    def replace(self, weights: Array, bias: Array | None) -> None:
        """Take new weights and, where there is a place for one, a new bias."""


def sweep(
    sites: Iterable[Site],
    weights: Mapping[str, Array],
    rules: Mapping[str, LayerRule],
    progress: Progress | None = None,
    seed: int = 0,
) -> dict[str, NDArray[np.bool_]]:
    """Prune and refit every layer; those that stay dense are refitted as well, because their inputs changed.

    Returns: the masks, True = kept.
    Raises: ModelError for weights or activations that are not finite; RecipeError for a library that only
    training can find.
    """
    for name, array in weights.items():
        check_finite(name, array)
    libraries: dict[str, Sequence[Pattern]] = dict(resolve_libraries(weights, rules))
    draw = np.random.default_rng(seed)
    masks: dict[str, NDArray[np.bool_]] = {}
    for done, site in enumerate(sites):
        if progress is not None:
            progress(f"refitting {site.name}", done, len(rules))
        rule = rules[site.name]
        masks[site.name] = np.ones(site.weights.shape, bool)
        if rule.dense and all(mask.all() for mask in masks.values()):
            continue  # nothing before it changed
        x, wanted = site.observe()
        statistics = gather(x, wanted, site.geometry, site.has_bias, draw)
        check_statistics(site.name, statistics)
        if not rule.dense:
            library = libraries[rule.patterns] if rule.patterns is not None else ()
            masks[site.name] = choose_mask(site.weights, statistics, rule, library)
        if statistics.wide and rule.dense:
            continue  # there is nothing to refit by
        new, bias = refit(site.weights, masks[site.name], statistics)
        site.replace(new, bias if site.has_bias else None)
    return masks
