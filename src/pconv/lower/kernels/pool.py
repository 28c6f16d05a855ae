"""Pooling, by vectors or through a table."""

from dataclasses import dataclass, field
from typing import Literal

from pconv.lower.layout import Layout

from .spec import named


@dataclass(frozen=True, slots=True)
class PoolKernel:
    """Pooling lane by lane, where the output's blocks are the input's divided by the stride."""

    source: Layout
    output: Layout
    kind: Literal["max", "average"]
    size: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int]

    @property
    def name(self) -> str:
        """The C function's name."""
        what = f"{self.kind}pool{self.size[0]}x{self.size[1]}s{self.stride[0]}"
        return named(self, what, self.output.lanes, self.output.dtype)


@dataclass(frozen=True, slots=True)
class GlobalAverageKernel:
    """The mean of each plane, or the sum: vectors of the block added up, then their lanes."""

    source: Layout
    output: Layout
    sum: bool = field(default=False, repr=False)  # the name says it

    @property
    def name(self) -> str:
        """The C function's name."""
        what = "globalsum" if self.sum else "globalaverage"
        return named(self, what, self.source.lanes, self.output.dtype)

    @property
    def divisor(self) -> int:
        """What is added up is divided by this."""
        return 1 if self.sum else self.source.height * self.source.width


@dataclass(frozen=True, slots=True)
class PoolTableKernel:
    """Pooling through a table of source elements: any window between any two layouts."""

    source: Layout
    output: Layout
    kind: Literal["max", "average"]
    window: int

    @property
    def name(self) -> str:
        """The C function's name."""
        return named(self, f"{self.kind}pool_table", self.output.lanes, self.output.dtype)
