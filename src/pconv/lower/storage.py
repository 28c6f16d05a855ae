"""Weights in the type that a target stores them in."""

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
