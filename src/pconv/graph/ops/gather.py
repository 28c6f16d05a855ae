"""Gather, as torch writes as_strided behind a pooling of channels that come last.

Reshape(all in a row) -> Gather(0, 1, 2, ... in another shape)    =>    Reshape
"""

from math import prod

import numpy as np

from ..site import Operand, Site, shape_of


def gather(site: Site) -> Operand:
    """Convert a Gather that takes everything, in order; one of constants is folded before this."""
    x = site.tensor()
    indices, before = site.constant(1), site.node.inputs[0]
    producer = None if before is None else before.producer()
    flat = producer is not None and producer.op_type == "Reshape" and site.attr("axis", 0) == 0
    if indices is None or not flat or not np.array_equal(indices.ravel(), np.arange(prod(shape_of(x)))):
        raise site.unsupported("it takes some elements of what is computed", "all of them in order, or Slice")
    return site.reshape(x, indices.shape)


CONVERTERS = {"Gather": gather}
