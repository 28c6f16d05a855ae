"""Softmax: along channels, or along another axis, which is brought there and back."""

from math import prod

from ..site import Operand, Site, shape_of


def softmax(site: Site) -> Operand:
    """Convert Softmax.

    Before opset 13 the default axis is 1, not the last, and everything from the axis on is one row.
    """
    x = site.tensor()
    shape, rows = shape_of(x), site.opset < 13
    axis = site.axis(int(site.attr("axis", 1 if rows else -1)), len(shape))
    if axis == 0:
        raise site.unsupported("axis 0", "any axis but the batch")
    if rows and axis != len(shape) - 1:
        if axis > 1:
            raise site.unsupported(
                f"axis {axis} of {len(shape)} dimensions before opset 13", "axis 1 or the last"
            )
        flat = site.reshape(x, (1, prod(shape)), step="flat")
        return site.reshape(site.emit("Softmax", [flat], shape_of(flat), step="row"), shape)
    swapped = site.swap(x, axis, "swap")
    image = shape_of(swapped)
    if len(image) not in (2, 4):
        swapped = site.reshape(swapped, (1, image[1], prod(image[2:]), 1), step="image")
    step = "" if swapped is x else "softmax"
    done = site.emit("Softmax", [swapped], shape_of(swapped), step=step)
    return site.swap(site.reshape(done, image, step="" if axis == 1 else "shaped"), axis)


CONVERTERS = {"Softmax": softmax}
