"""Least squares: the kept weights that bring a layer's outputs nearest to the wanted ones.

min over w with zeros where the mask is False:  |X w - Y|^2 + ridge |w - w0|^2
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .statistics import Statistics, damped

Array = NDArray[Any]

RIDGE = 1e-2  # of the Hessian's mean diagonal; 1e-3 to 1e-1 measured alike, 1 is too stiff


def refit(weights: Array, mask: NDArray[np.bool_], statistics: Statistics) -> tuple[Array, Array]:
    """Solve for each filter's kept weights, and the bias that goes with them.

    A layer too wide for a whole Hessian keeps its weights as they are, and gets a bias that restores the means.

    Shapes: weights and mask [oc, ic / groups, ...] -> new weights, bias [oc]
    """
    groups, k = statistics.mean_x.shape
    old = weights.astype(np.float64).reshape(groups, -1, k)
    kept = mask.reshape(groups, -1, k)
    new = np.where(kept, old, 0.0)
    for group, stiff in enumerate([] if statistics.wide else damped(statistics.hessian, RIDGE)):
        # The ridge pulls to the old weights: H + r on the left means C + r w0 on the right.
        pull = stiff - statistics.hessian[group]
        wanted = statistics.cross[group].T + old[group] @ pull
        new[group] = _solve(stiff, wanted, kept[group])
    means = (new * statistics.mean_x[:, None]).sum(axis=2).reshape(-1)
    return new.reshape(weights.shape).astype(weights.dtype), statistics.mean_y - means


def _solve(hessian: Array, wanted: Array, kept: NDArray[np.bool_]) -> Array:
    """Solve each filter on what it keeps; filters with the same mask share one factorisation."""
    new = np.zeros(wanted.shape)
    for mask, rows in _alike(kept):
        places = np.flatnonzero(mask)
        if len(places):
            right = wanted[np.ix_(rows, places)].T
            new[np.ix_(rows, places)] = np.linalg.solve(hessian[np.ix_(places, places)], right).T
    return new


def _alike(kept: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    masks, which = np.unique(kept, axis=0, return_inverse=True)
    return [(mask, np.flatnonzero(which.reshape(-1) == i)) for i, mask in enumerate(masks)]
