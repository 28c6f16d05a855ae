"""The micro-kernels as data: each spec is all that its C text depends on, and its name says so.

A name reads type, operation, patterns, activation, tile, lanes: `f32_conv3x3s1_p8x4_g1_relu_5x5_v16`. The type is
that of the output. Two steps with equal specs share one function.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from pconv.lower.layout import Layout
from pconv.targets.dtype import FP16, FP32, DType

Taps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Activation:
    """One of `graph.spec.ACTIVATIONS`.

    `low` and `high` are what a clip keeps to; `low` alone is the slope of `leaky`, the depth of `elu`, what `above` and
    `atleast` compare with.
    """

    kind: str = "none"
    low: float = 0.0
    high: float = 0.0

    @property
    def tag(self) -> str:
        """Short form for names."""
        return "" if self.kind == "none" else f"_{self.kind}"


SINGLE_TAPS = 4
"""Kernels of one tap in a turn of a loop, where weights are loaded a register at a time."""
SOON = 3
"""Kernels of one tap that are passed over when the input of the next ones is fetched."""


def digest(spec: object) -> str:
    """Return six hexadecimal digits that tell one spec from another."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:6]


def _named(spec: object, what: str, lanes: int, dtype: DType = FP32) -> str:
    """Return a C function's name: type, what it does, lanes, and what tells its spec from another."""
    return f"{dtype.tag}_{what}_v{lanes}_{digest(spec)}"


@dataclass(frozen=True, slots=True)
class ConvKernel:
    """Convolution over blocks layouts: a tile of `tile` vectors x `group` filters stays in registers.

    `patterns` are the taps (ky, kx) of each shape, all of one length; a dense layer is one pattern of all taps, a
    1x1 layer one tap. `uniform` says that all filters share their kernels, so that one index list serves all.
    `passes` cuts each pattern's taps into runs whose weights fit the registers together. With `pool`, the tile is
    max-pooled 2x2 before it is stored, and `output` is the pooled layout. With `copies`, as many kernels of a
    run are summed at once, each into accumulators of its own, where a tile is too small to hide the FMA's latency.
    `block` is how many input channels are summed up before the accumulators are put aside and the next of `span` groups
    use the same input, which then is in L1; 0 stands for all of them.
    `prefetch_next` fetches the next tile's input while this one is computed, `prefetch_output` the lines that the
    epilogue will write, `prefetch_kernel` a later kernel's input, from L2 to L1, and `prefetch_weights` weights that
    come from beyond L2. `work_group` is a GPU's: how many work items, each with a tile, run together. `by_lane` says
    that weights are loaded a register at a time, and a multiply-add takes one of its lanes; `ahead`, that a load stands
    before the multiply-adds of the one before, for a core that waits for it. `widen_after` so many
    multiply-adds, or a few more, sums of halves are added to sums of floats, which wait on the stack; 0 stands for
    never. `by_table` says that one loop runs kernels of every shape, whose taps' places stand in a table; else each
    shape has a loop of its own. `by_channel` says that the input under a tile is held in registers, channel by channel,
    while the filters of `span` groups add to their sums, which wait in L1; with a `block`, that many channels' input
    stays in L1 instead, and their kernels are sorted by shape together, so that runs are longer.
    `mixed` says that the filters of a group keep 1x1 kernels of their own, with a run for each set of filters that keep
    the same channels, whose input is loaded once; else they keep the same ones.
    `parts` of the filters are done for all tiles one after another, so that a part's weights stay in L2; else a tile is
    done for all filters before the next.
    `points` convolutions of one kind run one after another, on planes and weights of their own (see `winograd`); where
    their kernels differ, `lists` has the number of each one's list.
    `in_place` says that the residual lies where the output goes.
    """

    source: Layout
    output: Layout
    residual: Layout | None
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int]
    patterns: tuple[Taps, ...]
    group: int
    tile: tuple[int, int]
    uniform: bool
    activation: Activation
    passes: int = 1
    pool: bool = False
    copies: int = 1
    block: int = 0
    span: int = 1
    prefetch_next: bool = False
    prefetch_output: bool = False
    prefetch_kernel: bool = False
    prefetch_weights: bool = False
    work_group: int = 0
    by_lane: bool = False
    ahead: bool = False
    widen_after: int = 0
    by_table: bool = False
    by_channel: bool = False
    mixed: bool = False
    parts: int = 1
    points: int = 1
    lists: tuple[int, ...] = ()
    in_place: bool = False

    def picture(self, pattern: int) -> str:
        """Draw a pattern in a line: 110/110/000."""
        taps, (kh, kw) = self.patterns[pattern], self.size
        return "/".join("".join("1" if (y, x) in taps else "0" for x in range(kw)) for y in range(kh))

    @property
    def runs(self) -> int:
        """Loops over kernels that a group of filters takes."""
        if self.mixed:
            return (1 << self.group) - 1
        return 1 if self.by_table else len(self.patterns)

    @property
    def sharers(self) -> tuple[tuple[int, ...], ...]:
        """For each run, the filters of a group that it serves: all of them, or where they are mixed, a set of them."""
        everyone = range(self.group)
        if not self.mixed:
            return (tuple(everyone),) * self.runs
        return tuple(tuple(f for f in everyone if bits >> f & 1) for bits in range(1, 1 << self.group))

    @property
    def holds_input(self) -> bool:
        """Whether registers hold the input under a tile, and sums pass by one after another."""
        return self.by_channel and not self.block

    @property
    def turn(self) -> int:
        """Kernels that one turn of a loop handles; those of one tap share a register of weights."""
        return max(self.copies, SINGLE_TAPS if self.by_lane and len(self.patterns[0]) == 1 else 1)

    @property
    def fetched(self) -> int:
        """How many kernels ahead the input is fetched: those of one tap are done before it would arrive."""
        return self.turn + (SOON if len(self.patterns[0]) == 1 else 0)

    @property
    def computed(self) -> Layout:
        """The layout of what is accumulated: the output's, or twice its blocks when it is pooled."""
        out = self.output
        if not self.pool:
            return out
        return replace(
            out,
            height=2 * out.height,
            width=2 * out.width,
            block_h=2 * out.block_h,
            block_w=2 * out.block_w,
        )

    @property
    def name(self) -> str:
        """The C function's name."""
        kh, kw = self.size
        shapes = f"p{len(self.patterns)}x{len(self.patterns[0])}"
        add = "_add" if self.residual else "_maxpool2" if self.pool else ""
        group = f"{'m' if self.mixed else 'g'}{self.group}"
        does = f"conv{kh}x{kw}s{self.stride[0]}_{shapes}_{group}{add}{self.activation.tag}"
        what = f"{does}_{self.tile[0]}x{self.tile[1]}"
        return _named(self, what, self.output.lanes, self.output.dtype)


@dataclass(frozen=True, slots=True)
class WinogradWeightsKernel:
    """Kernels, side by side as `fkw.pack_points` stores them, to their weights at every point of tiles of `size`.

    With `skips`, each point has those of its list alone. `taps` are those in a row.
    """

    size: tuple[int, int]
    patterns: tuple[Taps, ...]
    lanes: int
    skips: bool = False
    taps: int = 3

    @property
    def name(self) -> str:
        """The C function's name."""
        return _named(self, f"winograd{self.size[0]}x{self.size[1]}_weights", self.lanes)


@dataclass(frozen=True, slots=True)
class WinogradListsKernel:
    """Each point's list of kernels, and the place of each weight in it, from the list of all kernels.

    `groups` and what follows are those of the convolution of the points: see `ConvKernel`.
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
        return _named(self, f"winograd{self.size[0]}x{self.size[1]}_lists", 1)


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
        return _named(self, what, self.output.lanes, self.output.dtype)


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
        what = f"winograd{self.size[0]}x{self.size[1]}_output{add}{self.activation.tag}"
        return _named(self, what, self.output.lanes, self.output.dtype)


@dataclass(frozen=True, slots=True)
class GemmKernel:
    """Fully connected: `vectors` x `lanes` outputs at a time; weights stream through once.

    `dtype` says how the weights are stored; rows are floats and are summed as such. With several `streams`, so many
    parts of the weights are read side by side, and fetched ahead: memory gives several streams more than one.
    """

    lanes: int
    vectors: int
    sparse: bool
    activation: Activation
    index_bits: Literal[16, 32] = 16
    dtype: DType = FP32
    streams: int = 1

    @property
    def name(self) -> str:
        """The C function's name."""
        kind = "sparse" if self.sparse else "dense"
        return _named(self, f"gemm_{kind}{self.activation.tag}_{self.vectors}", self.lanes, self.dtype)


@dataclass(frozen=True, slots=True)
class GatherKernel:
    """Planes copied, through a table unless the layouts agree: relayout, concat, slice, pad, pixel shuffle."""

    source: Layout
    output: Layout
    plain: bool = False

    @property
    def name(self) -> str:
        """The C function's name."""
        kind = "copy" if self.plain else "gather"
        return _named(self, kind, self.output.lanes, self.output.dtype)


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
        floats = dense.planar and dense.dtype == FP32
        return few and floats and exact and (bare or not output.planar)

    @property
    def name(self) -> str:
        """The C function's name."""
        kind = "deinterleave" if self.output.planar else "interleave"
        blocks = self.source if self.output.planar else self.output
        return _named(self, kind, blocks.lanes, blocks.dtype)


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
        return _named(self, what, self.output.lanes, self.output.dtype)


@dataclass(frozen=True, slots=True)
class GlobalAverageKernel:
    """The mean of each plane: vectors of the block added up, then their lanes."""

    source: Layout
    output: Layout

    @property
    def name(self) -> str:
        """The C function's name."""
        return _named(self, "globalaverage", self.source.lanes, self.output.dtype)


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
        return _named(self, f"{self.kind}pool_table", self.output.lanes, self.output.dtype)


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
        return _named(self, f"{what}{self.taps[0]}x{self.taps[1]}", self.output.lanes, self.output.dtype)


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
        return _named(self, what, self.output.lanes, self.output.dtype)


@dataclass(frozen=True, slots=True)
class ConstantKernel:
    """Planes of a constant, stored as they lie in memory, to where the others are."""

    output: Layout

    @property
    def name(self) -> str:
        """The C function's name."""
        return _named(self, "constant", self.output.lanes, self.output.dtype)


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
class MatMulKernel:
    """Products of dense matrices, one a plane: [m, k] @ [k, n] * scale; `transposed` says which of both lie as [k, m]
    and [n, k].

    A tile of `rows` x `vectors` sums stays in registers; `parts` of the rows are tasks of their own, each of which
    packs what it reads of the second matrix.
    """

    m: int
    k: int
    n: int
    transposed: tuple[bool, bool]
    scale: float
    lanes: int
    rows: int = 1
    vectors: int = 1
    parts: int = 1

    @property
    def columns(self) -> int:
        """Columns of the second matrix that are packed together."""
        return self.vectors * self.lanes

    @property
    def name(self) -> str:
        """The C function's name."""
        marks = "".join("t" if flag else "n" for flag in self.transposed)
        what = f"matmul_{marks}_{self.m}x{self.k}x{self.n}_{self.rows}x{self.vectors}"
        return _named(self, what, self.lanes)


@dataclass(frozen=True, slots=True)
class ArgMaxKernel:
    """The channel in which each position is largest, the first of equal ones, on planes of one geometry."""

    source: Layout
    output: Layout

    @property
    def name(self) -> str:
        """The C function's name."""
        return _named(self, "argmax", self.output.lanes, self.output.dtype)


Kernel = (
    ConvKernel
    | GemmKernel
    | GatherKernel
    | GlobalAverageKernel
    | InterleaveKernel
    | PoolKernel
    | PoolTableKernel
    | ResizeKernel
    | ElementwiseKernel
    | ConstantKernel
    | SoftmaxKernel
    | MatMulKernel
    | ArgMaxKernel
    | WinogradInputKernel
    | WinogradOutputKernel
    | WinogradListsKernel
    | WinogradWeightsKernel
)
