"""What works along an axis."""

from dataclasses import dataclass

from pconv.lower.layout import Layout

from .spec import named


@dataclass(frozen=True, slots=True)
class SoftmaxKernel:
    """Softmax along the middle one of three dimensions that a dense tensor is seen as."""

    outer: int
    length: int
    inner: int
    lanes: int

    @property
    def name(self) -> str:
        """The C function's name."""
        return f"f32_softmax_{self.outer}x{self.length}x{self.inner}_v{self.lanes}"


@dataclass(frozen=True, slots=True)
class ArgMaxKernel:
    """The channel in which each position is largest, the first of equal ones, on planes of one geometry."""

    source: Layout
    output: Layout

    @property
    def name(self) -> str:
        """The C function's name."""
        return named(self, "argmax", self.output.lanes, self.output.dtype)
