"""Shape, Size: constants, since every shape is known."""

from math import prod

import numpy as np

from ..site import Operand, Site, shape_of


def shape(site: Site) -> Operand:
    """Convert Shape, with the start and end of opset 15."""
    sizes = shape_of(site.tensor())[int(site.reads_unbatched) :]
    return np.array(sizes[site.attr("start", 0) : site.attr("end", None)], dtype=np.int64)


def size(site: Site) -> Operand:
    """Convert Size."""
    return np.array(prod(shape_of(site.tensor())), dtype=np.int64)


CONVERTERS = {"Shape": shape, "Size": size}
