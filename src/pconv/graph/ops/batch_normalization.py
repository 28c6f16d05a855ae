"""BatchNormalization -> Affine, which a pass folds into the convolution before it."""

import numpy as np

from ...errors import ModelError
from ..site import Operand, Site, shape_of
from .transpose import last_again, last_as_image

OPSET_OF_TRAINING_MODE = 14
"""Before it, a node that gives statistics besides its result is in training mode."""


def batch_normalization(site: Site) -> Operand:
    """Convert BatchNormalization at inference: y = x * scale + shift per channel."""
    x = site.tensor()
    more = site.opset < OPSET_OF_TRAINING_MODE and any(value.name for value in site.node.outputs[1:])
    if site.attr("training_mode", 0) or more:
        raise site.unsupported("it is in training mode", "inference", "Export the model in eval mode.")
    gamma, beta, mean, variance = (site.weight(i).astype(np.float64) for i in range(1, 5))
    if site.reads_unbatched and len(shape_of(x)) != 3:
        raise site.unsupported("what it reads has no batch", "a batch, or rows [n, c]")
    rows, x = shape_of(x), last_as_image(site, x, "image") if site.reads_unbatched else x
    channels = shape_of(x)[1]
    if any(array.shape != (channels,) for array in (gamma, beta, mean, variance)):
        raise site.malformed(f"its parameters do not have shape [{channels}]")
    spread = variance + site.attr("epsilon", 1e-5)
    if not np.all(spread > 0):
        bad = np.sum(~(spread > 0))
        raise ModelError(
            f"{site.name} ({site.op}): variance + epsilon is not positive in {bad} channels; "
            "allowed: variances of at least 0. Check the statistics of the trained model."
        )
    scale = gamma / np.sqrt(spread)
    weights = [("scale", scale), ("shift", beta - mean * scale)]
    y = site.emit("Affine", [x], shape_of(x), weights=weights, step="image" if site.reads_unbatched else "")
    return last_again(site, y, rows) if site.reads_unbatched else y


CONVERTERS = {"BatchNormalization": batch_normalization}
