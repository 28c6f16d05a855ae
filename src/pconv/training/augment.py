"""Augmentation: small images as a batch in torch, large ones each by itself with Pillow.

All chance comes from a seed that the caller derives from epoch and step: a resumed run sees the same pictures.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pconv.pruning import mirror_and_shift

if TYPE_CHECKING:
    from PIL.Image import Image

PAD = 4
SCALE = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
TRIES = 10
EVAL_CROP = 224 / 256


def crop_and_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pad each picture with black, cut its size out at a random place, and mirror half of them.

    Shapes: [n, c, h, w] -> the same.
    Source: the standard for CIFAR (He et al., 2015, section 4.2).
    """
    return mirror_and_shift(pixels, generator, PAD, "constant")


def random_resized_crop(image: Image, size: int, seed: int) -> Image:
    """Cut out a random part of 8 to 100% of the area, resize it to `size`, and mirror it half the time.

    Source: the standard for ImageNet (Szegedy et al., 2014).
    """
    from PIL.Image import Resampling, Transpose

    draw = random.Random(seed)
    box = _random_box(image.width, image.height, draw)
    cut = image.resize((size, size), Resampling.BILINEAR, box=box)
    return cut.transpose(Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else cut


def centre_crop(image: Image, size: int) -> Image:
    """Cut out the centre, 224/256 of the short side, and resize it to `size`."""
    from PIL.Image import Resampling

    side = EVAL_CROP * min(image.width, image.height)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _random_box(width: int, height: int, draw: random.Random) -> tuple[float, float, float, float]:
    for _ in range(TRIES):
        area = width * height * draw.uniform(*SCALE)
        aspect = math.exp(draw.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = draw.uniform(0, width - w), draw.uniform(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height
