"""What to keep in a layer: the error that each choice costs when everything else makes up for it.

Removing the weights w_R of a filter raises its squared output error by w_R' [(H^-1)_RR]^-1 w_R at best.
Source: Optimal Brain Surgeon (Hassibi and Stork, 1993), for each kernel's shapes at once.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.masks import form_groups
from pconv.patterns import Pattern, filter_groups, spread, sum_energy
from pconv.recipe import SHAPE, LayerRule
from pconv.sparsity import keep_kernels

from .statistics import Statistics

Array = NDArray[Any]

DAMPING = 1e-2  # of the Hessian's mean diagonal: directions that the images hardly show are not free


def choose_mask(
    weights: Array, statistics: Statistics, rule: LayerRule, library: Sequence[Pattern]
) -> NDArray[np.bool_]:
    """Choose each kernel's shape and each filter's kernels; an empty library keeps kernels whole.

    Shapes: weights [oc, ic / groups, ...] -> the same
    """
    kernels = weights.reshape(*weights.shape[:2], -1)
    shapes = np.ones((1, kernels.shape[2]), bool)
    if library:
        shapes = np.stack([pattern.mask().reshape(-1) for pattern in library])
    # As roots, because groups add up squares, as those of magnitudes.
    saved = np.sqrt(_saved(kernels, statistics.inverse_blocks(kernels.shape[2], DAMPING), shapes))
    size, block = weights.shape[:2], rule.channel_block
    groups = form_groups(rule, partial(_energy, saved, rule))
    together = groups if rule.sharing == SHAPE else filter_groups(size[0], 1)
    best = spread(sum_energy(saved, together, block).argmax(axis=2), together, size, block)
    worth = np.take_along_axis(saved, best[..., None], axis=2)[..., 0]
    kept = keep_kernels(worth, rule.keep, groups, block)
    return np.asarray(shapes[best] & kept[..., None]).reshape(weights.shape)


def _saved(kernels: Array, own: Array, shapes: NDArray[np.bool_]) -> Array:
    """Say what keeping a kernel in a shape saves, of the error of removing it.

    Shapes: kernels [oc, ic, taps], own [groups, ic, taps, taps] of the inverse Hessian, shapes [p, taps] -> [oc, ic, p]
    """
    oc, ic, taps = kernels.shape
    groups = len(own)
    w = kernels.astype(np.float64).reshape(groups, oc // groups, ic, taps)
    removed = _error(w, own)
    kept = [
        removed if shape.all() else removed - _error(w[..., ~shape], own[:, :, ~shape][..., ~shape])
        for shape in shapes
    ]
    return np.asarray(np.maximum(np.stack(kept, axis=-1), 0)).reshape(oc, ic, len(shapes))


def _error(w: Array, inverse: Array) -> Array:
    """Give w' inverse^-1 w of each kernel. Shapes: w [g, o, i, r], inverse [g, i, r, r] -> [g, o, i]."""
    solved = w.transpose(0, 2, 1, 3) @ np.linalg.inv(inverse)  # [g, i, o, r]
    return np.asarray((solved * w.transpose(0, 2, 1, 3)).sum(-1).transpose(0, 2, 1))


def _energy(saved: Array, rule: LayerRule) -> Array:
    """Say what each kernel (or block of channels) saves in each shape that its group may choose."""
    energy = sum_energy(saved, filter_groups(len(saved), 1), rule.channel_block)
    return energy if rule.sharing == SHAPE else np.asarray(energy.max(axis=2, keepdims=True))
