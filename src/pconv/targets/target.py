"""What pconv knows about a CPU: plain data, no code paths."""

from dataclasses import dataclass, replace

from pconv.targets.dtype import FP32, DType, Support

IN_TEXT_ORDER = ("-mllvm", "-enable-misched=false")
"""For zig cc: the text has the order and registers that it wants; clang's scheduler loads early until it spills."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the cost model (lower/cost.py) asks of a CPU, in cycles.

    `overlap` is the n of (fma^n + memory^n)^(1/n): 1 where loads and multiply-adds share the issue slots. `burst` is
    the latency of multiply-adds that follow each other on one accumulator. `load` is for a vector of input from L1,
    `weight` for a weight that all lanes get, `row` for each row of input under a tile, `loop` for a kernel, `run` for a
    pattern and `surprise` for the end of a run that is mispredicted, fewer where a layer has fewer turns of loops and
    runs than are `remembered`, and only the share `again` where Winograd's next point repeats them; `text` for a line
    of a run's code where all runs' are more than L1 holds, `store` for a vector of output, `group` for a group of
    filters; `l2_line` for a line from L2, and `far_line` from beyond, `far_weights` for one of weights, `far_store` for
    a line of an output that leaves L2, `far_row` for each stretch of it. Where groups take turns on a block of
    channels, `visit` is for a turn, `put_aside` for a vector of sums kept until the next, `fill` for a line of the
    block's input; `hold` for a vector of input that is held, `held_sum` for one of sums that comes and goes with a
    kernel meanwhile; `tap` is for a tap that a table places. `stream` is for a line of weights that are read once, and
    `cold` besides for one of free filters at Winograd's points, which are many times their size in the file and far
    away when the network comes back to them; `free_points` is how many times as long as all this those layers take,
    `transform` for a vector of Winograd's points or products, `far_transform` for one that leaves the caches before it
    is read again.
    """

    overlap: float = 3.0
    burst: float = 4.0
    load: float = 0.4
    weight: float = 0.4
    row: float = 1.5
    loop: float = 2.0
    run: float = 6.0
    surprise: float = 0.0
    remembered: float = 1.0
    again: float = 1.0
    text: float = 0.0
    store: float = 2.0
    group: float = 30.0
    l2_line: float = 1.2
    far_line: float = 4.0
    far_weights: float = 12.0
    far_store: float = 8.0
    far_row: float = 40.0
    visit: float = 0.0
    put_aside: float = 0.0
    fill: float = 0.0
    hold: float = 0.0
    held_sum: float = 0.0
    tap: float = 0.0
    stream: float = 2.0
    cold: float = 0.0
    free_points: float = 1.0
    transform: float = 4.2
    far_transform: float = 15.0


@dataclass(frozen=True, slots=True)
class Target:
    """One instruction set on one operating system.

    `cflags` are for clang and gcc; `zig_cflags` say the same to zig cc, which names CPUs its own way.
    `cpu` is the core whose timing the code is scheduled for, "" for none in particular: it changes no
    instruction set. `families` are the makers and families by which /proc/cpuinfo tells that core. `features` are the
    CPU flags, as it spells them, without which the code cannot run; an artefact checks them itself when it is opened.

    `dtype` is what the code stores and computes with, `supports` what else it could. `lanes_f32` are those of a
    whole register of floats, whatever the type.

    `fma_by_lane` says that a multiply-add takes one factor from any lane of a register. `strips` says that Winograd's
    steps may take turns strip by strip, `pairs` that pairs of layers may, block by block: where what the caches do was
    measured, on AArch64 by a model of them.

    `in_order` says that an instruction that waits for a load stops all that follow it.

    `spare_registers` are those that a tile may have more than there are (the compiler leaves a weight in memory), or
    must have less (it wants some to load ahead): with all taps of a pattern read in one pass, and in several.

    `text_order` says that the compiler keeps to the order of the text, and that taps in a table and blocks of input
    channels, which want that, were measured to pay here; elsewhere blocks serve dense 1x1 layers alone.

    `claims` says that a core waits for lines that another one has when it writes to them, so that writing to them early
    was measured to pay.

    `fetches_ahead` says that fetching weights, and the next kernel's input to L1, ahead of their loads was measured to
    pay.

    `holds_input` says that input held in registers, channel by channel, was measured to pay; sums wait meanwhile in
    `held_share` of L1, more than all of it, as longer runs, whose ends surprise less, are worth some sums from L2.
    `lends_l2` says that with many shapes it also pays to let them wait in L2, and to go on from block to block of
    channels.

    `filter_lanes` says that lanes may be filters where those share their kernels: by measurements on Zen 4 that pays
    with 512 bits, where not all of the lanes that are blocks of the image have an output.

    `block_share` of L1 is for a block of channels under a tile, while groups of filters take turns on it; their partial
    sums wait in `kept_bytes`.

    `near_bytes` of Winograd's points and products stay in the caches from one step to the next; more come back from
    far.

    Units: `l1_bytes` and `l2_bytes` are the data caches of one core.
    """

    name: str
    arch: str
    os: str
    lanes_f32: int
    vector_registers: int
    fma_units: int
    cflags: tuple[str, ...]
    zig_target: str | None
    zig_cflags: tuple[str, ...]
    features: tuple[str, ...]
    l1_bytes: int
    l2_bytes: int
    cpu: str = ""
    families: tuple[tuple[str, str], ...] = ()
    fma_by_lane: bool = False
    strips: bool = False
    pairs: bool = False
    in_order: bool = False
    spare_registers: tuple[int, int] = (1, -2)
    text_order: bool = False
    holds_input: bool = False
    held_share: float = 1.25
    lends_l2: bool = False
    filter_lanes: bool = False
    block_share: float = 0.5
    kept_bytes: int = 12 << 10
    near_bytes: int = 6 << 20
    fetches_ahead: bool = False
    claims: bool = False
    costs: Costs = Costs()
    dtype: DType = FP32
    supports: tuple[Support, ...] = ()

    @property
    def lanes(self) -> int:
        """Return how many numbers a kernel's register holds; a GPU's work item handles them one by one."""
        if self.lanes_f32 == 1:
            return 1
        return self.lanes_f32 * FP32.elem_bytes // self.dtype.computed_bytes

    @property
    def vector_bytes(self) -> int:
        """Return what a register's numbers take in memory."""
        return self.dtype.elem_bytes * self.lanes

    def computing(self, support: Support) -> "Target":
        """Return this target for another type. Where loads convert, a pair of them costs two instructions more."""
        dtype = support.dtype
        slower = 3 if dtype.converts else 1
        return replace(
            self,
            name=f"{self.name}-{dtype.name}",
            dtype=dtype,
            features=(*self.features, *support.features),
            cflags=(*self.cflags, *support.cflags),
            zig_cflags=(*self.zig_cflags, *support.zig_cflags),
            costs=replace(self.costs, load=self.costs.load * slower, weight=self.costs.weight * slower),
        )
