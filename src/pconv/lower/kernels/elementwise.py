"""What works element by element."""

from dataclasses import dataclass
from typing import Literal

from pconv.lower.layout import Layout

from .spec import Activation, named


@dataclass(frozen=True, slots=True)
class ElementwiseKernel:
    """`op` of tensors of one geometry, or with constants per channel; then the activation.

    `other` is what the second tensor has a value for, where that is not each element: each plane, each pixel (which
    all planes share), or nothing at all.
    """

    op: Literal["add", "sub", "mul", "div", "keep", "max", "min", "affine", "prelu", "copy"]
    sources: tuple[Layout, ...]
    output: Layout
    activation: Activation
    other: Literal["", "plane", "pixel", "one"] = ""

    @property
    def name(self) -> str:
        """The C function's name."""
        what = f"{self.op}{len(self.sources)}{self.other}{self.activation.tag}"
        return named(self, what, self.output.lanes, self.output.dtype)
