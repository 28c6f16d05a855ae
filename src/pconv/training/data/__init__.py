"""Labelled images from where people keep them, as parts that are fitted, chosen by, and reported on.

`parts` is the contract, `arrays` and `pictures` are the two ways to hold images (in memory; one file each),
`cifar`, `folders` and `hub` read them, and `find` tells which one a path is.
"""

from pconv.training.data.find import open_data
from pconv.training.data.parts import Draw, Parts, Split, in_order, plan_epoch

__all__ = ["Draw", "Parts", "Split", "in_order", "open_data", "plan_epoch"]
