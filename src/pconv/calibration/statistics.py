"""What a layer reads and should give, as sums over sampled output positions.

    x [n, ic, h, w], y [n, oc, oh, ow]   --some positions-->   X [s, ic * kh * kw], Y [s, oc]   -->   X'X, X'Y

A fully connected layer has no kernel: each row of its input is a position.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError

Array = NDArray[Any]

MIN_SAMPLES = 16_384
SAMPLES_PER_COLUMN = 4
# Above this a Hessian and its inverse take gigabytes and many minutes: only each kernel's own block is kept.
MAX_COLUMNS = 9216
# Activations of all images are in memory at once.
MAX_IMAGES = 1024
MAX_PIXELS = 1 << 21
_FLOOR = 1e-12


@dataclass(frozen=True)
class Geometry:
    """Say how a convolution's kernel moves; the default is a fully connected layer, whose input is rows.

    Shapes: pads [top, left]; what lies beyond the input is zero.
    """

    kernel: tuple[int, ...] = ()
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def taps(self) -> int:
        """Count the positions of a kernel."""
        return math.prod(self.kernel)


@dataclass(frozen=True)
class Statistics:
    """Hold the second moments of a layer, for each of its convolution groups, about the means where centred.

    Shapes: hessian [groups, k, k] and cross [groups, k, oc / groups] with k = ic / groups * kh * kw; of a layer that
    is too wide, hessian [groups, ic / groups, taps, taps], each kernel's own block, and cross empty;
    mean_x [groups, k], mean_y [oc], both zero where not centred
    """

    hessian: Array
    cross: Array
    mean_x: Array
    mean_y: Array

    @property
    def wide(self) -> bool:
        """Say whether there is no more than each kernel's own block."""
        return self.hessian.ndim == 4

    def output_error(self, change: Array) -> float:
        """Say how far the outputs move when weights change and the bias makes up for their means: the mean square.

        It is summed over filters; of a layer that is too wide, over its kernels as well, each by itself.
        Shapes: change [oc, ic / groups, ...]
        """
        groups, *_, size = self.hessian.shape
        change = change.astype(np.float64).reshape(groups, len(change) // groups, -1, size)
        if self.wide:
            return float(np.einsum("gokx,gkxy,goky->", change, self.hessian, change, optimize=True))
        return float(np.einsum("gokx,gxy,goky->", change, self.hessian, change, optimize=True))

    def inverse_blocks(self, taps: int, damping: float) -> Array:
        """Give each kernel's own block of the inverse Hessian.

        Shapes: [groups, ic / groups, taps, taps]
        """
        if self.wide:
            return np.asarray(np.linalg.inv(np.stack([damped(blocks, damping) for blocks in self.hessian])))
        groups, k = self.hessian.shape[:2]
        ic = k // taps
        inverse = np.linalg.inv(damped(self.hessian, damping)).reshape(groups, ic, taps, ic, taps)
        return np.asarray(inverse[:, np.arange(ic), :, np.arange(ic)].swapaxes(0, 1))


def gather(x: Array, y: Array, geometry: Geometry, centred: bool, draw: np.random.Generator) -> Statistics:
    """Add up a layer's moments over positions drawn from all images.

    Shapes: x [n, ic, h, w] and y [n, oc, oh, ow], or of a fully connected layer [..., in] and [..., out]
    """
    if geometry.kernel:
        columns, wanted = _sample_windows(x, y, geometry, draw)
    else:
        columns, wanted = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        rows = draw.permutation(len(columns))[: _samples(columns.shape[1])]
        columns, wanted = columns[rows], wanted[rows]
    mean_x, mean_y = columns.mean(0, np.float64), wanted.mean(0, np.float64)
    if not centred:
        mean_x, mean_y = np.zeros_like(mean_x), np.zeros_like(mean_y)
    with np.errstate(invalid="ignore"):  # whoever asks looks at what comes out
        return _moments(columns, wanted, mean_x, mean_y, geometry)


def check_statistics(name: str, statistics: Statistics) -> None:
    """Refuse what cannot be solved for.

    Raises: ModelError naming the layer.
    """
    if not np.isfinite(statistics.hessian).all() or not np.isfinite(statistics.cross).all():
        raise ModelError(
            f"{name}: it computes NaN or infinity on the calibration images; "
            "allowed are finite numbers. Check the images' mean, std and size."
        )


def _moments(columns: Array, wanted: Array, mean_x: Array, mean_y: Array, geometry: Geometry) -> Statistics:
    """Multiply out, in float32, and average. Shapes: columns [s, ic * taps], wanted [s, oc]."""
    groups, oc = geometry.groups, wanted.shape[1]
    columns = (columns - mean_x.astype(np.float32)).reshape(len(columns), groups, -1).swapaxes(0, 1)
    wanted = (wanted - mean_y.astype(np.float32)).reshape(-1, groups, oc // groups).swapaxes(0, 1)
    _, count, k = columns.shape
    if k > MAX_COLUMNS:
        kernels = columns.reshape(groups, count, -1, geometry.taps).transpose(0, 2, 3, 1)
        blocks = (kernels @ kernels.swapaxes(2, 3)).astype(np.float64) / count
        return Statistics(blocks, np.empty(0), mean_x.reshape(groups, -1), mean_y)
    transposed = columns.swapaxes(1, 2)
    return Statistics(
        (transposed @ columns).astype(np.float64) / count,
        (transposed @ wanted).astype(np.float64) / count,
        mean_x.reshape(groups, -1),
        mean_y,
    )


def enough_images(images: int, pixels: int) -> NDArray[np.int64]:
    """Say which of the images, of so many pixels each, a sweep takes: more cost memory and help little."""
    return spread(images, max(1, min(MAX_IMAGES, MAX_PIXELS // max(1, pixels))))


def spread(images: int, most: int) -> NDArray[np.int64]:
    """Say which of the images to take, `most` at most: spread over all, since files often stand class by class."""
    return np.linspace(0, images - 1, min(images, most)).astype(np.int64)


def damped(hessian: Array, share: float) -> Array:
    """Add a share of its mean diagonal to each Hessian's diagonal. Shapes: [groups, k, k]."""
    diagonal = np.trace(hessian, axis1=1, axis2=2) / hessian.shape[1]
    # The floor is for a layer that reads nothing but zeros.
    return np.asarray(
        hessian + np.maximum(share * diagonal, _FLOOR)[:, None, None] * np.eye(hessian.shape[1])
    )


def _samples(columns: int) -> int:
    """Say how many positions make a Hessian of so many columns."""
    return max(MIN_SAMPLES, SAMPLES_PER_COLUMN * columns)


def _sample_windows(x: Array, y: Array, geometry: Geometry, draw: np.random.Generator) -> tuple[Array, Array]:
    """Cut the windows behind some output positions, the same number s from every image.

    Shapes: x [n, ic, h, w], y [n, oc, oh, ow] -> [n * s, ic * taps], [n * s, oc]
    """
    n, ic = x.shape[:2]
    oh, ow = y.shape[2:]
    kernel, strides, dilations = geometry.kernel, geometry.strides, geometry.dilations
    per_image = min(oh * ow, -(-_samples(ic // geometry.groups * geometry.taps) // n))
    places = draw.integers(oh * ow, size=(n, per_image))
    if per_image == oh * ow:
        places = np.broadcast_to(np.arange(oh * ow), (n, oh * ow))
    rows, cols = np.divmod(places, ow)
    # After the input, enough for the last window.
    ends = [
        (o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip((oh, ow), strides, kernel, dilations, strict=True)
    ]
    pads = [
        (p, max(0, end - p - size)) for p, end, size in zip(geometry.pads, ends, x.shape[2:], strict=True)
    ]
    # Channels last, so that one window position is one contiguous read.
    padded = np.pad(np.moveaxis(x, 1, 3), ((0, 0), *pads, (0, 0)))
    image = np.arange(n)[:, None]
    taps = [
        padded[
            image,
            rows * strides[0] + dy * dilations[0],
            cols * strides[1] + dx * dilations[1],
        ]
        for dy in range(kernel[0])
        for dx in range(kernel[1])
    ]
    columns = np.stack(taps, axis=-1).reshape(n * per_image, -1)
    return columns, np.moveaxis(y, 1, 3)[image, rows, cols].reshape(n * per_image, -1)
