"""Convolution, direct or of the points of Winograd's way."""

from dataclasses import dataclass, replace

from pconv.lower.layout import Layout

from .spec import Activation, Taps, named

SINGLE_TAPS = 4
"""Kernels of one tap in a turn of a loop, where weights are loaded a register at a time."""
SOON = 3
"""Kernels of one tap that are passed over when the input of the next ones is fetched."""


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
    `slices` of the channels are summed by tasks of their own (split-K), each into planes of its own and without the
    epilogue; a step behind adds them up.
    `in_place` says that the residual lies where the output goes.
    `claims` is the output of the layer that takes turns with it (see `pairs`), where on several threads each of its
    lines is written to before: the core then need not wait for it later.
    With `positions`, lanes are filters (see `filter_lanes`): so many outputs of `group` filters, some whole registers
    of them, are summed at a time, and `tile` counts the vectors of output that are transposed and stored when all
    their sums are there.
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
    slices: int = 1
    in_place: bool = False
    claims: Layout | None = None
    positions: int = 0

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
        what = f"{does}_by{self.positions}" if self.positions else f"{does}_{self.tile[0]}x{self.tile[1]}"
        return named(self, what, self.output.lanes, self.output.dtype)
