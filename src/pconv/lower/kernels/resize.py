"""Resizing of images."""

from dataclasses import dataclass

from pconv.lower.layout import Layout

from .spec import named


@dataclass(frozen=True, slots=True)
class ResizeKernel:
    """Weighted sums of source elements, across and then down: `taps` (down, across) of them for each output.

    Between blocks these are sums of vectors, into dense rows sums of elements, wherever those lie. Of the `nearest`
    elements, all weights are 0 or 1, and what weighs 1 is taken as it is, not multiplied.
    """

    source: Layout
    output: Layout
    taps: tuple[int, int]
    nearest: bool = False

    @property
    def name(self) -> str:
        """The C function's name."""
        what = "nearest" if self.nearest else "resize"
        return named(self, f"{what}{self.taps[0]}x{self.taps[1]}", self.output.lanes, self.output.dtype)
