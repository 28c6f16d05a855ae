"""A picture as every reader of this project sees it: upright, eight bits a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDE = ("I", "F")  # 32 bits: no range says what is white


def as_bytes(picture: Image, mode: str) -> Image:
    """Turn a picture as its EXIF orientation says, and convert it to "RGB" or "L"; of 16 bits the upper 8 count.

    Raises: ValueError for pixels of 32 bits; as Pillow does for a broken file.
    """
    from PIL.Image import fromarray
    from PIL.ImageOps import exif_transpose

    upright = exif_transpose(picture)
    if upright.mode.startswith("I;16"):  # Pillow would cut them off at 255: nearly all white
        upright = fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.mode in _WIDE:
        raise ValueError(f"pixels of 32 bits, mode {upright.mode}; allowed are 8 or 16")
    return upright.convert(mode)
