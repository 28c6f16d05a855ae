"""Weights and rules in, boolean masks out: one-shot selection by magnitude.

Owns the selection that the torch side and the ONNX side share; refuses weights that are not finite.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError
from pconv.grouping import alike_groups
from pconv.patterns import Groups, Library, filter_groups, library, project, sum_energy
from pconv.recipe import SHAPE, LayerRule
from pconv.sparsity import keep_kernels


def magnitude_masks(
    weights: Mapping[str, NDArray[Any]],
    rules: Mapping[str, LayerRule],
    libraries: Mapping[str, Library] | None = None,
    groups: Mapping[str, Groups] | None = None,
) -> dict[str, NDArray[np.bool_]]:
    """Choose what each layer keeps: True = kept.

    `libraries` (by name) and `groups` (by layer) are found from the weights where they are not given: a method
    that chooses again and again settles them once.

    Shapes: weights [oc, ic, kh, kw] or [out, in]; each mask has the shape of its weights
    Raises: ModelError when a layer's weights hold NaN or infinity; RecipeError for a library that only training
    can find.
    """
    for name in rules:
        check_finite(name, weights[name])
    if libraries is None:
        libraries = resolve_libraries(weights, rules)
    if groups is None:
        groups = resolve_groups(weights, rules, libraries)
    return {name: _layer_mask(weights[name], rule, libraries, groups[name]) for name, rule in rules.items()}


def resolve_libraries(
    weights: Mapping[str, NDArray[Any]], rules: Mapping[str, LayerRule]
) -> dict[str, Library]:
    """Look up every library that the rules name; natural ones are counted over all layers that use them."""
    names = {rule.patterns for rule in rules.values() if rule.patterns is not None}
    return {
        name: library(name, [weights[layer] for layer, rule in rules.items() if rule.patterns == name])
        for name in sorted(names)
    }


def resolve_groups(
    weights: Mapping[str, NDArray[Any]],
    rules: Mapping[str, LayerRule],
    libraries: Mapping[str, Library],
) -> dict[str, Groups]:
    """Say which filters of each layer form its groups: neighbours, or those most alike."""
    return {
        name: form_groups(rule, partial(_energy, weights[name], rule, libraries))
        for name, rule in rules.items()
    }


def form_groups(rule: LayerRule, energy: Callable[[], NDArray[Any]]) -> Groups:
    """Say which filters of a layer form its groups: neighbours, or those most alike by what their kernels keep.

    Groups lie within those of the convolution: filters of two of them read different channels, and cannot share.

    Shapes: energy() [oc, ceil(ic / channel_block), shapes], asked for where it decides
    """
    each = rule.shape[0] // rule.conv_groups
    starts = range(0, rule.shape[0], each)
    if not rule.permute or min(rule.group, each) == 1 or rule.dense:
        return [start + rows for start in starts for rows in filter_groups(each, rule.group)]
    kept = energy()
    return [
        start + rows
        for start in starts
        for rows in alike_groups(kept[start : start + each], rule.keep_blocks, rule.group)
    ]


def check_finite(name: str, weights: NDArray[Any]) -> None:
    """Refuse weights that cannot be ranked.

    Raises: ModelError naming the layer and how many values are not finite.
    """
    bad = weights.size - int(np.count_nonzero(np.isfinite(weights)))
    if bad:
        raise ModelError(
            f"{name}: {bad} weights are NaN or infinite; allowed are finite numbers. Repair the model first."
        )


def _layer_mask(
    weights: NDArray[Any], rule: LayerRule, libraries: Mapping[str, Library], groups: Groups
) -> NDArray[np.bool_]:
    shapes: NDArray[np.bool_] = np.broadcast_to(np.True_, weights.shape)
    if rule.dense:
        return shapes
    if rule.patterns is not None:
        patterns = libraries[rule.patterns]
        masks = np.stack([pattern.mask() for pattern in patterns])
        together = groups if rule.sharing == SHAPE else filter_groups(rule.shape[0], 1)
        shapes = masks[project(weights, patterns, together, rule.channel_block)]
    # A kernel is worth what its shape leaves of it: that norm gives the nearest point of both sets.
    kernels = _retained_norms(weights, shapes)
    kept = keep_kernels(kernels, rule.keep, groups, rule.channel_block)
    return shapes & kept.reshape(kept.shape + (1,) * (weights.ndim - 2))


def _retained_norms(weights: NDArray[Any], shapes: NDArray[np.bool_]) -> NDArray[Any]:
    if weights[0, 0].size == 1:
        return np.asarray(np.abs(weights)).reshape(weights.shape[:2])
    energy = np.square(weights, dtype=np.float64) * shapes
    return np.asarray(np.sqrt(energy.reshape(*weights.shape[:2], -1).sum(axis=2)))


def _energy(weights: NDArray[Any], rule: LayerRule, libraries: Mapping[str, Library]) -> NDArray[Any]:
    """Say what each kernel (or block of channels) keeps in each shape that its group may choose.

    Shapes: [oc, ceil(ic / channel_block), shapes]
    """
    oc, ic = weights.shape[:2]
    energy = sum_energy(weights.reshape(oc, ic, -1), filter_groups(oc, 1), rule.channel_block)
    if rule.patterns is None:
        return np.asarray(energy.sum(axis=2, keepdims=True))
    kept = np.stack([pattern.mask().reshape(9) for pattern in libraries[rule.patterns]], axis=1)
    shaped = energy @ kept.astype(np.float64)
    return shaped if rule.sharing == SHAPE else np.asarray(shaped.max(axis=2, keepdims=True))
