"""Weights and rules in, boolean masks out: one-shot selection by magnitude.

Owns the selection that the torch side and the ONNX side share; refuses weights that are not finite.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError
from pconv.patterns import Library, library, project
from pconv.recipe import LayerRule
from pconv.sparsity import keep_kernels


def magnitude_masks(
    weights: Mapping[str, NDArray[Any]], rules: Mapping[str, LayerRule]
) -> dict[str, NDArray[np.bool_]]:
    """Choose what each layer keeps: True = kept.

    Shapes: weights [oc, ic, kh, kw] or [out, in]; each mask has the shape of its weights
    Raises: ModelError when a layer's weights hold NaN or infinity.
    """
    for name in rules:
        check_finite(name, weights[name])
    libraries = resolve_libraries(weights, rules)
    return {name: _layer_mask(weights[name], rule, libraries) for name, rule in rules.items()}


def resolve_libraries(
    weights: Mapping[str, NDArray[Any]], rules: Mapping[str, LayerRule]
) -> dict[str, Library]:
    """Look up every library that the rules name; natural ones are counted over all layers that use them."""
    names = {rule.patterns for rule in rules.values() if rule.patterns is not None}
    return {
        name: library(name, [weights[layer] for layer, rule in rules.items() if rule.patterns == name])
        for name in sorted(names)
    }


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
    weights: NDArray[Any], rule: LayerRule, libraries: Mapping[str, Library]
) -> NDArray[np.bool_]:
    shapes: NDArray[np.bool_] = np.broadcast_to(np.True_, weights.shape)
    if rule.dense:
        return shapes
    if rule.patterns is not None:
        patterns = libraries[rule.patterns]
        masks = np.stack([pattern.mask() for pattern in patterns])
        shapes = masks[project(weights, patterns, rule.group)]
    # A kernel is worth what its shape leaves of it: that norm gives the nearest point of both sets.
    kernels = _retained_norms(weights, shapes)
    kept = keep_kernels(kernels, rule.keep, rule.group)
    return shapes & kept.reshape(kept.shape + (1,) * (weights.ndim - 2))


def _retained_norms(weights: NDArray[Any], shapes: NDArray[np.bool_]) -> NDArray[Any]:
    if weights[0, 0].size == 1:
        return np.asarray(np.abs(weights)).reshape(weights.shape[:2])
    energy = np.square(weights, dtype=np.float64) * shapes
    return np.asarray(np.sqrt(energy.reshape(*weights.shape[:2], -1).sum(axis=2)))
