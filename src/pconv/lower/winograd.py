"""Winograd's minimal filtering: a 3x3 convolution of stride 1 with fewer multiplications.

    tile of inputs --B'xB--> points --each a 1x1 convolution of its own--> points --A'xA--> tile of outputs
     6x6 (m = 4)              6x6     36 weights instead of 9              6x6               4x4

A tile of m outputs in a row takes m + 2 multiplications instead of 3m: a quarter of them all for tiles of 4x4. As
lanes are blocks of the image, the transforms are sums of whole vectors, without a shuffle. They cost time for each
channel and filter, and precision. A removed kernel has no weight at any point, so connectivity counts here as well.
Of patterns something stays too: a point at 0 sees the first row (or column) of taps alone, one at infinity the last,
so a pattern that leaves one of them empty has no weight there. Four weights in a square are 25 instead of 36, those of
a T 28. Each point then has a list of kernels of its own. Where a layer gains by it, the cost model says. Rows and
columns may have tiles of different size, which suits blocks of few rows.

A 7x7 convolution of stride 2, as many networks begin, is four of 4x4 and stride 1, on the even and odd rows and columns
of its input, which become channels of their own: 49 points for 4x4 outputs instead of 49 multiplications for each.
Where odd ones have three taps, the fourth is empty, like a pattern's.
Source: Lavin and Gray, arXiv 1509.09308; on kept kernels, patterns and strides: ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pconv.lower.kernels import Activation, ConvKernel, Taps
from pconv.lower.layout import LINE_BYTES, Layout
from pconv.lower.reorder import REMOVED, Shapes
from pconv.targets import Target
from pconv.targets.dtype import FP32

TAPS = 3
LONG = 4
SHORT = 2
"""Taps in a row of a tile's kernel. `LONG` are those of a kernel of 7 on every second row or column, `SHORT` those of
`SLICES`.
"""

STRIP_SHARE = 0.45
"""Of L2, what a strip's points, products and weights may take."""
MORE_PRODUCTS = 1.15
"""Over the fewest multiplications, where fewer points are offered as well: each costs a way through the weights."""
MIN_STRIPS = 4
FEW_VECTORS = (2, 3, 4)
"""Vectors of tiles in a strip of free filters that leaves L2."""

POINTS: Mapping[int, tuple[float, ...]] = MappingProxyType(
    {
        2: (0, 1, -1),
        3: (3 / 8, -3 / 8, 5 / 4, -5 / 4),
        4: (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2),
        5: (1 / 4, -1 / 4, 7 / 8, -7 / 8, 3 / 2, -3 / 2),
    }
)
LONG_POINTS: Mapping[int, tuple[float, ...]] = MappingProxyType(
    {2: POINTS[3], 4: (1 / 2, -1 / 2, 7 / 8, -7 / 8, 2, -2)}
)
"""For m outputs of three taps and of four, the places where polynomials are multiplied, but for infinity.

With 3/4 and 3/2 instead of the usual 1 and 2, the largest error is less than half. Those for 3 and 5, and the long
ones, have the smallest error that was found among pairs of small fractions: 5 outputs are as exact as 4 with the usual
places.
"""


MOST_HALVES = 2
"""Outputs in a row of a tile in halves at most. Two lose no more than direct sums do, three about twice as much, four
five times.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """One dimension: `inputs` [points, points], `weights` [points, taps] and `outputs` [m, points] are B', G and A'."""

    inputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    outputs: NDArray[np.float64]


def toom_cook(places: Sequence[float], taps: int = TAPS) -> Transform:
    """Return the transform for some places and infinity: B' interpolates, G and A' evaluate.

    See Barabasz et al., arXiv 1803.10986, for the construction and for what places do to precision.
    """
    m = len(places) + 1 - taps + 1
    finite = np.array(places)
    others = [np.delete(finite, i) for i in range(len(places))]
    inputs = np.zeros((len(places) + 1,) * 2)
    for i, rest in enumerate(others):
        inputs[i, : len(places)] = np.poly(rest)[::-1]
    inputs[-1] = np.poly(finite)[::-1]
    scale = np.array([np.prod(place - rest) for place, rest in zip(finite, others, strict=True)])
    weights = np.vstack([np.vander(finite, taps, increasing=True) / scale[:, None], np.eye(taps)[-1]])
    outputs = np.hstack([np.vander(finite, m, increasing=True).T, np.eye(m)[:, -1:]])
    return Transform(inputs, weights, outputs)


TRANSFORMS: Mapping[int, Transform] = MappingProxyType(
    {1: Transform(np.eye(TAPS), np.eye(TAPS), np.ones((1, TAPS)))}
    | {m: toom_cook(places) for m, places in POINTS.items()}
)
"""By the outputs of a tile; of one there is nothing to save, and its points are its taps."""
LONG_TRANSFORMS: Mapping[int, Transform] = MappingProxyType(
    {m: toom_cook(places, LONG) for m, places in LONG_POINTS.items()}
)
SHORT_TRANSFORMS: Mapping[int, Transform] = MappingProxyType(
    {1: Transform(np.eye(SHORT), np.eye(SHORT), np.ones((1, SHORT)))}
)


def transforms(size: tuple[int, int], taps: int) -> tuple[Transform, Transform]:
    """Return the transforms of rows and columns."""
    known = {SHORT: SHORT_TRANSFORMS, TAPS: TRANSFORMS, LONG: LONG_TRANSFORMS}[taps]
    return known[size[0]], known[size[1]]


def kept_points(size: tuple[int, int], patterns: Sequence[Taps], taps: int = TAPS) -> NDArray[np.bool_]:
    """Tell where each pattern has a weight: [patterns, points]."""
    down, across = (one.weights != 0 for one in transforms(size, taps))
    return np.array([(down[:, y] @ across[:, x].T).ravel() for y, x in map(np.transpose, patterns)])


def point_lists(
    size: tuple[int, int], patterns: Sequence[Taps], taps: int = TAPS
) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Give the lists of kernels that points need, as the patterns in each [lists, patterns], and each point's list.

    The first list has every kernel.
    """
    points = [tuple(row) for row in kept_points(size, patterns, taps).T.tolist()]
    lists = sorted({*points, (True,) * len(patterns)}, reverse=True)
    return np.array(lists), tuple(map(lists.index, points))


@dataclass(frozen=True, slots=True)
class Winograd:
    """A way to run a layer in tiles of `size` outputs (rows, columns).

    With `skips`, a point leaves out the kernels that have no weight there. A layer of `stride` 2 has four channels for
    each of its own, and kernels of `taps` x `taps`: see `phases`. A `strip` of so many vectors of tiles goes through
    all three steps before the next, so that its points and products stay in L2; 0 stands for whole planes.
    """

    size: tuple[int, int]
    skips: bool = False
    taps: int = TAPS
    stride: int = 1
    strip: int = 0

    @property
    def points(self) -> int:
        """Multiplications of a tile, each for all its channels and filters."""
        return (self.size[0] + self.taps - 1) * (self.size[1] + self.taps - 1)

    def weights(self, shapes: Shapes) -> int:
        """Count a layer's weights at all points."""
        if not self.skips:
            return self.points * shapes.kernels
        counts = np.bincount(shapes.ids[shapes.ids >= 0], minlength=len(shapes.patterns))
        return int(counts @ kept_points(self.size, shapes.patterns, self.taps).sum(axis=1))

    def products(self, computed: Layout, shapes: Shapes) -> int:
        """Count the multiplications of an image, surplus lanes left out."""
        (mh, mw) = self.size
        return self.weights(shapes) * -(-computed.height // mh) * -(-computed.width // mw)

    def tiles(self, computed: Layout) -> tuple[int, int]:
        """Count the rows and columns of tiles in a block."""
        (mh, mw) = self.size
        return -(-computed.block_h // mh), -(-computed.block_w // mw)

    def layout(self, computed: Layout) -> Layout:
        """Return the layout of one point of one channel: a vector for each tile of the block or strip, in one row."""
        count = self.strip or self.vectors(computed)
        rows, cols = computed.rows, computed.cols
        return Layout(rows, cols * count, rows, cols, 1, count, dtype=computed.dtype, images=computed.images)

    def vectors(self, computed: Layout) -> int:
        """Count the vectors of tiles of a plane."""
        rows, cols = self.tiles(computed)
        return rows * cols

    def strips(self, computed: Layout) -> int:
        """Count the strips of a plane."""
        return -(-self.vectors(computed) // self.strip) if self.strip else 1

    def stripped(self, bare: ConvKernel, shapes: Shapes, target: Target) -> "list[Winograd]":
        """Return the same way in strips, none where a plane has too few vectors for some of them.

        They stay in L2, or hold a few vectors each, over which free filters share what a kernel costs besides its
        multiply-adds; of these there are as many as threads share evenly.
        """
        near = target.l2_bytes * STRIP_SHARE
        weights = self.weights(shapes) * target.dtype.elem_bytes
        room = near - weights if weights < near / 2 else near
        each = self.points * (sum(shapes.ids.shape) + 2) * target.vector_bytes
        fitting, count = max(1, int(room / each)), self.vectors(bare.computed)
        pieces = {-(-count // fitting)} if count >= MIN_STRIPS * fitting else set[int]()
        if shapes.kernels < shapes.ids.size:
            few = {-(-count // size) for size in FEW_VECTORS}
            pieces |= {piece for piece in few if piece == MIN_STRIPS or piece >= 2 * MIN_STRIPS}
        return [replace(self, strip=-(-count // piece)) for piece in sorted(pieces)]

    def pointwise(self, bare: ConvKernel, patterns: Sequence[Taps]) -> ConvKernel:
        """Return the convolution of the points that stands for the layer's, whose kernels have these patterns."""
        layout = self.layout(bare.computed)
        return replace(
            bare,
            source=layout,
            output=layout,
            residual=None,
            size=(1, 1),
            stride=(1, 1),
            pads=(0, 0),
            pool=False,
            activation=Activation(),
            points=self.points,
            lists=point_lists(self.size, patterns, self.taps)[1] if self.skips else (),
        )

    def cycles(self, bare: ConvKernel, shapes: Shapes, target: Target) -> float:
        """Estimate what the layer takes besides its multiplications: transforms, and weights that nobody reuses."""
        layout, costs = self.layout(bare.computed), target.costs
        planes, strips = self.points * sum(shapes.ids.shape), self.strips(bare.computed)
        far = planes * layout.plane_bytes > target.near_bytes
        weights = self.weights(shapes) * target.dtype.elem_bytes
        each = costs.far_transform if far else costs.transform
        times = strips if weights > target.l2_bytes / 2 else 1
        return each * planes * layout.block_w * strips + costs.stream * weights / LINE_BYTES * times


SLICES = Winograd((1, 1), taps=SHORT)
"""Not a way to run a layer, but to add up four slices of its channels: as the 2x2 products of a tile of one output."""


def strided(size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], groups: int) -> bool:
    """Tell whether a layer is one that `phases` takes apart."""
    return (*size, *stride, *dilation, groups) == (2 * LONG - 1, 2 * LONG - 1, 2, 2, 1, 1, 1)


def phases(weight: NDArray[np.float32]) -> tuple[NDArray[np.float32], Shapes]:
    """Take a layer [oc, ic, 7, 7] of stride 2 apart: [oc, 4 ic, 4, 4] of stride 1, on even and odd rows and columns.

    What is not there is zero, and the shapes of its kernels say so; each shape has 16 taps, some of them twice.
    """
    oc, ic = weight.shape[:2]
    each = np.zeros((oc, ic, 4, LONG, LONG), weight.dtype)
    patterns = []
    for number, (y, x) in enumerate(product((0, 1), (0, 1))):
        part = weight[:, :, y::2, x::2]
        rows, cols = part.shape[2:]
        each[:, :, number, :rows, :cols] = part
        taps = product(range(LONG), range(LONG))
        patterns.append(tuple((min(i, rows - 1), min(j, cols - 1)) for i, j in taps))
    apart = each.reshape(oc, 4 * ic, LONG, LONG)
    ids = np.where((apart != 0).any(axis=(2, 3)), np.tile(np.arange(4), ic), REMOVED)
    return apart, Shapes(tuple(patterns), ids.astype(np.int16))


def spacing(channels: int) -> int:
    """Return the planes from one point to the next: an odd number, so that points do not share cache sets."""
    return channels | 1


def ways(bare: ConvKernel, groups: int, shapes: Shapes, target: Target) -> list[Winograd]:
    """Return the tile that takes the fewest multiplications for a layer, without skipping and with it, and in strips.

    Beside it stands one of fewer points, where that takes not many more. Nothing where the layer is of another kind, or
    where there is nothing to skip.
    """
    plain = bare.size == (TAPS, TAPS) and bare.stride == bare.dilation == (1, 1) and groups == 1
    apart = strided(bare.size, bare.stride, bare.dilation, groups)
    if not (plain or apart) or target.lanes == 1 or bare.source.planar:
        return []
    longest = max(POINTS) if target.dtype.stored == FP32.stored else MOST_HALVES
    if apart:
        m = max(m for m in LONG_TRANSFORMS if m <= longest)
        return _and_stripped([Winograd((m, m), True, LONG, 2)], bare, shapes, target)
    sizes = [m for m in TRANSFORMS if m <= longest and (m % 2 == 0 or not bare.pool)]

    def products(way: Winograd) -> int:
        return way.weights(shapes) * way.layout(bare.computed).block_w

    found: list[Winograd] = []
    for skips in (False, True):
        tiles = [Winograd(size, skips) for size in product(sizes, sizes) if size != (1, 1)]
        best = min(tiles, key=products)
        if not skips or products(best) < products(found[0]):
            most = MORE_PRODUCTS * best.points * best.vectors(bare.computed)
            fewer = [
                way
                for way in tiles
                if way.points < best.points and way.points * way.vectors(bare.computed) <= most
            ]
            found += [best, *sorted(fewer, key=products)[:1]]
    return _and_stripped(found, bare, shapes, target)


def _and_stripped(found: list[Winograd], bare: ConvKernel, shapes: Shapes, target: Target) -> list[Winograd]:
    """Add the same ways in strips, where the target's arena would leave its caches otherwise."""
    if not target.strips:
        return found
    return [*found, *(strip for way in found for strip in way.stripped(bare, shapes, target))]
