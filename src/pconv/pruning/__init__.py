"""Pruning of torch modules: prepare, step, finish. One file a method; `prune` is one shot by magnitude.

Ends in a module whose plain weights contain the zeros; knows nothing of graphs and code.
"""

from .base import Pruner
from .magnitude import MagnitudePruner, prune

__all__ = ["MagnitudePruner", "Pruner", "prune"]
