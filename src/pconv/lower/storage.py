"""Weights and constants in the type that a target stores them in, or computes with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import UnsupportedError
from pconv.targets.dtype import DType


def store(weight: NDArray[np.float32], dtype: DType, layer: str) -> NDArray[Any]:
    """Round weights to what memory holds.

    Raises: UnsupportedError when one is too large for the type.
    """
    limit = float(np.finfo(dtype.stored).max)
    largest = float(np.abs(weight).max(initial=0.0))
    if largest > limit:
        raise UnsupportedError(
            f"{layer}: a weight of {largest:.3g} does not fit {dtype.name}; allowed up to {limit:.5g}. Compile with "
            "--dtype fp32."
        )
    return weight.astype(dtype.stored)


def saturate(values: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
    """Bring finite numbers that a type lacks to its largest: a mask of -1e9 stays finite, and 0 times it is 0."""
    largest = float(np.finfo(dtype).max)
    return np.where(np.isfinite(values), np.clip(values, -largest, largest), values)
