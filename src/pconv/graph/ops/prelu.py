"""PRelu with constant slopes: one for all is a leaky ReLU, one for each channel a PRelu."""

import numpy as np

from ..site import Operand, Site, shape_of


def prelu(site: Site) -> Operand:
    """Convert PRelu."""
    x = site.tensor()
    shape, slopes = shape_of(x), site.weight(1)
    slope = site.per_channel(slopes, shape)
    if slope is None:
        raise site.unsupported(
            f"slopes of shape {list(slopes.shape)} with an activation {list(shape)}",
            "one, or one per channel",
        )
    if np.all(slope == slope[0]):
        return site.emit("Activation", [x], shape, activation="leaky", act_min=float(slope[0]), act_max=0.0)
    return site.emit("PRelu", [x], shape, weights=[("slope", slope)])


CONVERTERS = {"PRelu": prelu}
