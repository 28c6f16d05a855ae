"""Operands of fewer dimensions get those that they lack in front, as ONNX has it, before a converter sees them.

    [1, 8, 5, 7] @ [1, 7, 3]                             =>    [1, 8, 5, 7] @ [1, 1, 7, 3]
    windows [4, 5, 7], inside [1, 4, 5, 7], + [1, 1, 7]    =>    + [1, 1, 1, 7]: this one has no batch beside windows

Where the batch is open, the first dimension of both is that, and neither may lack any.
"""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from .ops import arithmetic, comparison, extremes, logic, where
from .site import Operand, Site, shape_of

COMBINING = {op for room in (arithmetic, comparison, extremes, logic, where) for op in room.CONVERTERS}


def align(site: Site, batched: Collection[int]) -> None:
    """Align what a node combines; `batched` are operands that have a batch although others have none."""
    for i in batched:
        site.operands = _with(site, i, (1, *shape_of(site.tensor(i))))
    products = site.op == "MatMul"
    ranks = [_rank(x, site.reads_unbatched) for x in site.operands]
    computed = [len(shape_of(x)) for x in site.operands if isinstance(x, ir.Value)]
    if not (products or site.op in COMBINING) or (products and min(computed) < 2 + site.reads_unbatched):
        return
    for i, x in enumerate(site.operands):
        missing = max(ranks) - _rank(x, False) if isinstance(x, ir.Value) else 0
        if isinstance(x, ir.Value) and missing and site.builder.one_sample:
            site.operands = _with(site, i, (*(1,) * missing, *shape_of(x)))


def _rank(x: Operand | None, unbatched: bool) -> int:
    """Count the dimensions of an operand, as they are here; a constant of several samples does not count."""
    if isinstance(x, np.ndarray):
        return x.ndim + unbatched if unbatched or x.shape[:1] in ((), (1,)) else 0
    return 0 if x is None else len(shape_of(x))


def _with(site: Site, i: int, shape: tuple[int, ...]) -> list[Operand | None]:
    operands = list(site.operands)
    operands[i] = site.reshape(site.tensor(i), shape, f"operand{i}")
    return operands
