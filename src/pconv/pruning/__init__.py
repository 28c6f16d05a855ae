"""Pruning of torch modules: prepare, step, finish. One file a method; `prune` finds them by name.

Ends in a module whose plain weights contain the zeros; knows nothing of graphs and code.
"""

from pconv.extras import require_torch

require_torch("pconv.prune")

from .admm import AdmmPruner  # noqa: E402 - not before the check
from .base import Pruner  # noqa: E402
from .distillation import Distillation  # noqa: E402
from .gradual import GradualPruner  # noqa: E402
from .keep import KeepPruner  # noqa: E402
from .magnitude import MagnitudePruner  # noqa: E402
from .methods import METHODS, prune  # noqa: E402
from .post_training import post_train  # noqa: E402
from .post_training_tune import mirror_and_shift  # noqa: E402
from .rates import Curve, sensitivity, spread_rates  # noqa: E402
from .storage import load_sparse, read_sparse, save_sparse  # noqa: E402

__all__ = [
    "METHODS",
    "AdmmPruner",
    "Curve",
    "Distillation",
    "GradualPruner",
    "KeepPruner",
    "MagnitudePruner",
    "Pruner",
    "load_sparse",
    "mirror_and_shift",
    "post_train",
    "prune",
    "read_sparse",
    "save_sparse",
    "sensitivity",
    "spread_rates",
]
