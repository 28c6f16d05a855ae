"""Where the elements of a channel plane lie: the *blocks* layout.

    image 8x8, 4 lanes = 2x2 blocks of 4x4          one plane in memory: (4 + halo) x (4 + halo) vectors
    +------+------+
    | b0   | b1   |      vector (y, x) holds, in lane b, the element (y, x) of block b:
    |      |      |          [ b0[y,x], b1[y,x], b2[y,x], b3[y,x] ]
    +------+------+      the element one row below, for every lane at once, is vector (y+1, x): each tap of a
    | b2   | b3   |      convolution is one aligned load. Vectors outside the block (the halo) repeat the
    |      |      |      neighbour block's border, or are zero at the image's border: padding costs nothing.
    +------+------+      A convolution of stride 2 reads every second vector: no phases, no shuffles.

`Layout` is the only description of memory that the rest knows; a dense NCHW plane is the layout of one lane.
Source: ours; docs/kernels.md says how the kernels use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pconv.targets.dtype import FP32, DType

LINE_BYTES = 64
SPREAD_LINES = 128


@dataclass(frozen=True, slots=True)
class Layout:
    """One channel plane of `height` x `width` elements, cut into `rows` x `cols` blocks, a lane each.

    A block is `block_h` x `block_w`; `top`, `left`, `bottom`, `right` are its halo, in vectors. The last blocks
    may reach past the image: their surplus elements are kept zero. `dtype` is what the elements are; of one lane they
    are always floats on a CPU (what a caller gives, and rows, which are small); an OpenCL device has its own.
    Of a batch, so many `images` may lie side by side in the lanes (see `fold`): lane (image, row, column).
    """

    height: int
    width: int
    rows: int = 1
    cols: int = 1
    block_h: int = 0
    block_w: int = 0
    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0
    dtype: DType = FP32
    images: int = 1

    @property
    def lanes(self) -> int:
        """Elements of one vector."""
        return self.images * self.image_lanes

    @property
    def image_lanes(self) -> int:
        """Elements of one vector that are of one image."""
        return self.rows * self.cols

    @property
    def planar(self) -> bool:
        """Whether this is a dense NCHW plane."""
        return self.lanes == 1

    @property
    def row_vectors(self) -> int:
        """Vectors from one row of the block to the next."""
        return self.left + self.block_w + self.right

    @property
    def plane_vectors(self) -> int:
        """Vectors from one channel to the next.

        Planes are padded to an odd number of cache lines, large ones to 9 modulo 16: with a power of two, the
        same tile of all channels would fall into the same few cache sets.
        """
        vectors = (self.top + self.block_h + self.bottom) * self.row_vectors
        if self.planar:
            return vectors
        vector_bytes = self.dtype.elem_bytes * self.lanes
        lines = -(-vectors * vector_bytes // LINE_BYTES)
        if lines >= SPREAD_LINES:
            lines += (9 - lines) % 16
        elif lines > 1:
            lines |= 1
        return lines * LINE_BYTES // vector_bytes

    @property
    def plane_elems(self) -> int:
        """Elements from one channel to the next."""
        return self.plane_vectors * self.lanes

    @property
    def plane_bytes(self) -> int:
        """Bytes from one channel to the next."""
        return self.dtype.elem_bytes * self.plane_elems

    @property
    def base_elems(self) -> int:
        """Elements from the start of a plane to vector (0, 0) of the block."""
        return (self.top * self.row_vectors + self.left) * self.lanes

    @property
    def partial_rows(self) -> bool:
        """Whether some lane's block reaches below the image."""
        return self.rows * self.block_h != self.height

    @property
    def partial_cols(self) -> bool:
        """Whether some lane's block reaches right of the image."""
        return self.cols * self.block_w != self.width

    @property
    def idle_share(self) -> float:
        """Share of the lanes' elements that lie beyond the image, 0..1: computed for nothing."""
        return max(0.0, 1.0 - self.height * self.width / (self.image_lanes * self.block_h * self.block_w))

    @property
    def whole(self) -> bool:
        """Whether the blocks hold every element; else some are in the halo only, or nowhere, as nobody reads them."""
        return self.rows * self.block_h >= self.height and self.cols * self.block_w >= self.width

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of a block, in vectors."""
        return self.block_h, self.block_w

    @property
    def geometry(self) -> tuple[int, ...]:
        """What two tensors must share to be combined lane by lane: images, grid and block."""
        return self.images, self.rows, self.cols, self.block_h, self.block_w

    def vector(self, y: int, x: int) -> int:
        """Give the vector offset of block position (y, x), relative to (0, 0)."""
        return y * self.row_vectors + x

    def with_halo(self, top: int, left: int, bottom: int, right: int) -> "Layout":
        """Return this layout with a halo of at least these sizes."""
        return replace(
            self,
            top=max(self.top, top),
            left=max(self.left, left),
            bottom=max(self.bottom, bottom),
            right=max(self.right, right),
        )

    def settled(self) -> "Layout":
        """Return a layout of one lane with the image as its block; what lay beyond is halo. Others stay."""
        if not self.planar:
            return self
        return replace(
            self,
            block_h=self.height,
            block_w=self.width,
            bottom=max(0, self.block_h + self.bottom - self.height),
            right=max(0, self.block_w + self.right - self.width),
        )

    def source_table(self) -> NDArray[np.int32]:
        """Give for each element of a plane the element it holds, (image * height + y) * width + x, or -1 for a zero."""
        return _source_table(self)

    def element_table(self) -> NDArray[np.int32]:
        """Give for each element of the images, in row-major order, its place in the plane (halo copies left out)."""
        image, y, x = np.indices((self.images, self.height, self.width)).reshape(3, -1)
        row, col = y // self.block_h, x // self.block_w
        vector = (self.top + y % self.block_h) * self.row_vectors + self.left + x % self.block_w
        places: NDArray[np.int64] = vector * self.lanes + (image * self.rows + row) * self.cols + col
        return places.astype(np.int32)

    def image_table(self) -> NDArray[np.int32]:
        """Give the source table of one of the images: of its lanes alone, vector by vector."""
        return self.source_table().reshape(-1, self.images, self.image_lanes)[:, 0].ravel()


@lru_cache(maxsize=256)
def _source_table(layout: Layout) -> NDArray[np.int32]:
    down = np.arange(-layout.top, layout.block_h + layout.bottom)
    across = np.arange(-layout.left, layout.block_w + layout.right)
    y = down[:, None, None, None, None] + (np.arange(layout.rows) * layout.block_h)[:, None]
    x = across[:, None, None, None] + np.arange(layout.cols) * layout.block_w
    image = np.arange(layout.images)[:, None, None]
    inside = (y >= 0) & (y < layout.height) & (x >= 0) & (x < layout.width)
    table = np.full(layout.plane_elems, -1, np.int32)
    body = np.where(inside, (image * layout.height + y) * layout.width + x, -1).ravel()
    table[: body.size] = body
    return table


def planar(height: int, width: int) -> Layout:
    """Return the layout of a dense NCHW plane."""
    return Layout(height, width, 1, 1, height, width)


def lane_source(
    output: Layout, image: Sequence[int], size: Sequence[int], stride: Sequence[int], pads: Sequence[int]
) -> Layout:
    """Return the layout of an `image` (rows, columns) that is pooled or convolved into `output` lane by lane.

    Its blocks are the output's times the stride; its halo is what windows of that `size`, dilation included, reach
    beyond them, with `pads` before the image.
    """
    return replace(
        output,
        height=image[0],
        width=image[1],
        block_h=output.block_h * stride[0],
        block_w=output.block_w * stride[1],
        top=pads[0],
        left=pads[1],
        bottom=max(0, size[0] - pads[0] - stride[0]),
        right=max(0, size[1] - pads[1] - stride[1]),
    ).settled()


def natural(
    height: int, width: int, lanes: int, dtype: DType = FP32, wide: bool = False, images: int = 1
) -> Layout:
    """Return the blocks layout of least waste for an image, the squarest grid where several are equal.

    Of a grid and its transpose, `wide` takes the one whose blocks have the longer rows: neighbours load in pairs. With
    several `images`, each has as many of the lanes.
    """
    lanes //= images

    def rank(rows: int) -> tuple[int, ...]:
        cols = lanes // rows
        waste = rows * -(-height // rows) * cols * -(-width // cols)
        return waste, abs(rows - cols), -rows * wide

    rows = min((r for r in (1 << i for i in range(lanes.bit_length())) if lanes % r == 0), key=rank)
    cols = lanes // rows
    return Layout(
        height, width, rows, cols, -(-height // rows), -(-width // cols), dtype=dtype, images=images
    )
