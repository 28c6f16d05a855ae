"""Softmax over features or channels."""

from math import prod

from ..site import Operand, Site, shape_of


def softmax(site: Site) -> Operand:
    """Convert Softmax along axis 1.

    Before opset 13 the default axis is 1, not the last, and everything from the axis on is one row.
    """
    x = site.tensor()
    shape, rows = shape_of(x), site.opset < 13
    axis = site.axis(int(site.attr("axis", 1 if rows else -1)), len(shape))
    if axis != 1:
        raise site.unsupported(f"axis {axis} of {len(shape)} dimensions", "axis 1 (features or channels)")
    if not rows or len(shape) == 2:
        return site.emit("Softmax", [x], shape)
    flat = site.reshape(x, (1, prod(shape)), step="flat")
    return site.reshape(site.emit("Softmax", [flat], shape_of(flat), step="row"), shape)


CONVERTERS = {"Softmax": softmax}
