"""Col2Im, torch's fold: overlapping patches added up -> a transposed convolution whose kernels copy.

[1, c * kh * kw, patches] -> [1, c * kh * kw, rows, columns] -> [1, c, h, w]
"""

from math import prod

import numpy as np

from ..site import Operand, Site, shape_of
from .conv_transpose import dilated, phases_of, transposed


def col2im(site: Site) -> Operand:
    """Convert Col2Im of patches of an image."""
    x, image, block = site.tensor(), site.ints("image_shape", 1), site.ints("block_shape", 2)
    if image is None or block is None:
        raise site.malformed("its shapes are missing")
    if len(image) != 2 or len(block) != 2:
        raise site.unsupported(f"its image has shape {list(image)}", "rows and columns")
    strides, dilations = site.attr("strides", (1, 1)), site.attr("dilations", (1, 1))
    pads, shape = site.attr("pads", (0, 0, 0, 0)), shape_of(x)
    reach = [(k - 1) * d + 1 for k, d in zip(block, dilations, strict=True)]
    grid = [(image[i] + pads[i] + pads[i + 2] - reach[i]) // strides[i] + 1 for i in (0, 1)]
    channels, taps = shape[1] // prod(block), prod(block)
    if len(shape) != 3 or shape[1:] != (channels * taps, prod(grid)):
        raise site.malformed(
            f"patches {list(block)} of an image {list(image)} do not fit an input {list(shape)}"
        )
    kernel = np.tile(np.eye(taps, dtype=np.float32).reshape(taps, 1, *block), (channels, 1, 1, 1))
    filters = phases_of(dilated(kernel, dilations), channels, strides)
    patches = site.reshape(x, (1, shape[1], *grid), "patches")
    return transposed(site, patches, filters, np.zeros(channels), channels, strides, pads[:2], image)


CONVERTERS = {"Col2Im": col2im}
