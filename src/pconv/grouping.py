"""Groups of alike filters: which filters lose least when they share connectivity and shapes.

    filters 0 1 2 3 4 5 6 7   -->   pairs (0 5) (1 2) (3 6) (4 7)   -->   fours (0 5 3 6) (1 2 4 7)

Owns the choice of the members only. They need not be neighbours: the compiler finds groups from the zeros.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def alike_groups(energy: NDArray[Any], keep: int, group: int) -> list[NDArray[np.intp]]:
    """Form groups of `group` filters (a power of two) so that what they keep together is large.

    Sets of filters are paired again and again, those first that keep most in common; what cannot be paired
    forms the last group.

    Shapes: energy [oc, ic, shapes], what each kernel keeps in each shape; `keep` kernels of ic stay
    Source: ours.
    """
    energy = (energy / max(float(energy.max(initial=0.0)), 1e-30)).astype(np.float32)
    sets, rest = [np.array([i]) for i in range(len(energy))], []
    size = 1
    while size < group:
        pairs, single = _pair(energy, keep)
        rest += [sets[i] for i in single]
        sets = [np.concatenate([sets[i], sets[j]]) for i, j in pairs]
        energy = np.stack([energy[i] + energy[j] for i, j in pairs]) if pairs else energy[:0]
        size *= 2
    groups = sorted((np.sort(rows) for rows in sets), key=lambda rows: int(rows[0]))
    return groups + ([np.sort(np.concatenate(rest))] if rest else [])


def _pair(energy: NDArray[Any], keep: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Pair greedily by what sharing costs; an odd one stays single."""
    n = len(energy)
    alone = _kept(energy, keep)
    first, second = np.triu_indices(n, 1)
    cost = np.concatenate(
        [alone[i] + alone[i + 1 :] - _kept(energy[i] + energy[i + 1 :], keep) for i in range(n - 1)]
        or [np.empty(0)]
    )
    free = np.ones(n, bool)
    pairs = []
    for k in np.argsort(cost, kind="stable"):
        i, j = int(first[k]), int(second[k])
        if free[i] and free[j]:
            free[[i, j]] = False
            pairs.append((i, j))
    return pairs, np.flatnonzero(free).tolist()


def _kept(energy: NDArray[Any], keep: int) -> NDArray[Any]:
    """Add up the `keep` best kernels of each set, each in its best shape. Shapes: [n, ic, shapes] -> [n]."""
    kernels = energy.max(axis=2)
    drop = kernels.shape[1] - keep
    return np.asarray(np.partition(kernels, drop, axis=1)[:, drop:].sum(axis=1)) if drop else kernels.sum(1)
