"""Post-training pruning of one layer after another, from the second-order statistics of what the layers read.

    statistics.py   columns of sampled positions -> Hessian X'X, cross terms X'Y, means
    choice.py       the error that each shape and each removed kernel would cost -> mask
    refit.py        kept weights and bias that come nearest to the wanted outputs
    sweep.py        all layers in order, each on what the already pruned ones before it give

Owns the mathematics, in numpy. Refuses to know a network: what runs it (torch, ONNX Runtime) hands in `Site`s.
"""

from .choice import choose_mask
from .refit import refit
from .statistics import Geometry, check_statistics, enough_images, gather, spread
from .sweep import Site, sweep

__all__ = [
    "Geometry", "Site", "check_statistics", "choose_mask", "enough_images", "gather", "refit", "spread", "sweep",
]  # fmt: skip
