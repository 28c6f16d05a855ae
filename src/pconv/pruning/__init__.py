"""Pruning of torch modules: prepare, step, finish. One file a method; `prune` is one shot by magnitude.

Ends in a module whose plain weights contain the zeros; knows nothing of graphs and code.
"""

from pconv.extras import require_torch

require_torch("pconv.prune")

from .base import Pruner  # noqa: E402 - not before the check
from .magnitude import MagnitudePruner, prune  # noqa: E402

__all__ = ["MagnitudePruner", "Pruner", "prune"]
