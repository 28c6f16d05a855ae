"""Copies from layout to layout, and constants."""

from dataclasses import dataclass

from pconv.lower.layout import Layout
from pconv.targets.dtype import FP16, FP32

from .spec import named


@dataclass(frozen=True, slots=True)
class GatherKernel:
    """Planes copied, through a table unless the layouts agree: relayout, concat, slice, pad, pixel shuffle.

    Where one layout holds several images side by side and the other one, an image goes to its lanes, or comes from
    there.
    """

    source: Layout
    output: Layout
    plain: bool = False

    @property
    def name(self) -> str:
        """The C function's name."""
        kind = "copy" if self.plain else "gather"
        return named(self, kind, self.output.lanes, self.output.dtype)


INTERLEAVED = 4
"""Neighbours that are copied at a time, and floats in a register of 128 bits."""


@dataclass(frozen=True, slots=True)
class InterleaveKernel:
    """Dense planes into blocks of 128 bits, or back: four neighbours in each of four (eight) blocks, transposed.

    Floats are dense; the blocks, of floats or halves, cover the image exactly.
    """

    source: Layout
    output: Layout

    @staticmethod
    def fits(source: Layout, output: Layout) -> bool:
        """Tell whether this kernel can copy one layout to the other."""
        blocks, dense = (source, output) if output.planar else (output, source)
        exact = blocks.block_w >= INTERLEAVED and not blocks.partial_rows and not blocks.partial_cols
        bare = output.plane_elems == output.height * output.width
        few = blocks.lanes == INTERLEAVED or (blocks.lanes == 2 * INTERLEAVED and blocks.dtype == FP16)
        floats = dense.planar and dense.dtype == FP32 and blocks.images == 1
        return few and floats and exact and (bare or not output.planar)

    @property
    def name(self) -> str:
        """The C function's name."""
        kind = "deinterleave" if self.output.planar else "interleave"
        blocks = self.source if self.output.planar else self.output
        return named(self, kind, blocks.lanes, blocks.dtype)


@dataclass(frozen=True, slots=True)
class ConstantKernel:
    """Planes of a constant, stored as they lie in memory, to where the others are."""

    output: Layout

    @property
    def name(self) -> str:
        """The C function's name."""
        return named(self, "constant", self.output.lanes, self.output.dtype)
