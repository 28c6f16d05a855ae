"""Pooling of a whole image, or of whole rows."""

import onnx_ir as ir

from ..site import Operand, Site, shape_of


def global_average_pool(site: Site) -> Operand:
    """Convert GlobalAveragePool."""
    return site.like_operand(average(site, site.image()))


def global_max_pool(site: Site) -> Operand:
    """Convert GlobalMaxPool."""
    return site.like_operand(maximum(site, site.image()))


def average(site: Site, x: ir.Value, step: str = "", *, sum_: bool = False) -> ir.Value:
    """Append the mean of each plane, or the sum, which is exact of whole numbers."""
    return site.emit("GlobalAveragePool", [x], (*shape_of(x)[:2], 1, 1), step=step, sum=int(sum_))


def maximum(site: Site, x: ir.Value, step: str = "") -> ir.Value:
    """Append the largest of each plane."""
    image = shape_of(x)[2:]
    return site.emit("MaxPool", [x], (*shape_of(x)[:2], 1, 1), step=step, kernel_shape=image, strides=image)


CONVERTERS = {"GlobalAveragePool": global_average_pool, "GlobalMaxPool": global_max_pool}
