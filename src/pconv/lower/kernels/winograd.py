"""What lies around the convolution of the points: see `pconv.lower.winograd`."""

from dataclasses import dataclass

from pconv.lower.layout import Layout
from pconv.targets.dtype import FP32, DType

from .spec import Activation, Taps, named


@dataclass(frozen=True, slots=True)
class WinogradWeightsKernel:
    """Kernels, side by side as `fkw.pack_points` stores them, to their weights at every point of tiles of `size`.

    With `skips`, each point has those of its list alone. `taps` are those in a row, `dtype` is what the weights are
    stored in, before and after; between, they are floats.
    """

    size: tuple[int, int]
    patterns: tuple[Taps, ...]
    lanes: int
    skips: bool = False
    taps: int = 3
    dtype: DType = FP32

    @property
    def name(self) -> str:
        """The C function's name."""
        return named(self, f"winograd{self.size[0]}x{self.size[1]}_weights", self.lanes, self.dtype)


@dataclass(frozen=True, slots=True)
class WinogradListsKernel:
    """Each point's list of kernels, and the place of each weight in it, from the list of all kernels.

    `group` and what follows are those of the convolution of the points: see `ConvKernel`.
    """

    size: tuple[int, int]
    patterns: tuple[Taps, ...]
    group: int
    mixed: bool
    uniform: bool
    block: int
    span: int
    taps: int = 3

    @property
    def name(self) -> str:
        """The C function's name."""
        return named(self, f"winograd{self.size[0]}x{self.size[1]}_lists", 1)


@dataclass(frozen=True, slots=True)
class WinogradInputKernel:
    """Tiles of `size` outputs and what they reach, transformed to points: see `winograd`.

    `computed` is the layout of the convolution's outputs, `pads` how far their taps reach above and to the left.
    `by_lane` says that a multiplication takes a factor from any lane, and that there are registers for a whole tile.
    With `stride` 2 each channel is four: those of its even and odd rows and columns. A `strip` of so many tiles is done
    at a time, for all planes; 0 stands for all tiles, plane by plane.
    """

    source: Layout
    output: Layout
    computed: Layout
    size: tuple[int, int]
    pads: tuple[int, int]
    by_lane: bool = False
    taps: int = 3
    stride: int = 1
    strip: int = 0

    @property
    def name(self) -> str:
        """The C function's name."""
        what = f"winograd{self.size[0]}x{self.size[1]}_input"
        return named(self, what, self.output.lanes, self.output.dtype)


@dataclass(frozen=True, slots=True)
class WinogradOutputKernel:
    """Points transformed to tiles of `size` outputs; then bias, residual, activation and 2x2 max pool.

    `by_lane` is as in `WinogradInputKernel`.
    """

    source: Layout
    output: Layout
    computed: Layout
    residual: Layout | None
    size: tuple[int, int]
    activation: Activation
    pool: bool
    by_lane: bool = False
    taps: int = 3
    strip: int = 0

    @property
    def name(self) -> str:
        """The C function's name."""
        add = "_add" if self.residual else "_maxpool2" if self.pool else ""
        of = "sum" if self.size == (1, 1) else f"winograd{self.size[0]}x{self.size[1]}_output"
        what = f"{of}{add}{self.activation.tag}"
        return named(self, what, self.output.lanes, self.output.dtype)
