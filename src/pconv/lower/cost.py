"""The cost model: cycles of one micro-kernel over one layer. Decides tiles, groups, and sparse against dense.

A kernel's time is that of its multiply-adds at the FMA rate (or their latency, when a tile is too small to hide
it) and that of its loads, which overlap in part: (fma^n + memory^n)^(1/n). Memory time counts every vector load,
every line of weights, and every input line that has to come from L2 or beyond, more where a tile is narrow and
neighbours do not come along. Source: ours. The constants are fitted by benchmarks/fit_costs.py to schedules of 71
layers, timed on one Zen 3 core for AVX2 and on one Sapphire Rapids core for AVX-512, and of 82 on one Zen 4 core for
that: the model's first choice was 3%, 7% and 2% slower than the best of them on average, 27%, 60% and 16% at worst.
Of 82 layers with all of today's schedules it is 9% and 77% on Sapphire Rapids; costs fitted to those ranked layers
better, and made networks no faster. Expect errors of tens of percent elsewhere.
"""

from functools import lru_cache
from math import exp, pi, sqrt

from pconv.lower.kernels import ConvKernel, Taps
from pconv.lower.layout import LINE_BYTES
from pconv.lower.loads import MULTIPLE, cut_taps, load_count
from pconv.targets import Target

FMA_LATENCY = 4.0
SAMPLED_PATTERNS = 4
APART = 1 << 16
"""From one row to the next, where only neighbours in a row count."""
TEXT_SHARE = 0.5
"""Of L1, how much machine code all runs may have before lines of it cost: a core keeps about so much decoded."""
REACH = 64
"""Vectors that one pointer reaches with a load of two on AArch64: 7 bits of offset."""


def weight_loads(taps: int, group: int, by_lane: int) -> int:
    """Count the loads of some taps' weights: each for itself, or `by_lane` of them in a register."""
    return -(-taps * group // max(1, by_lane))


def registers_needed(kernel: ConvKernel, target: Target) -> int:
    """Count vector registers that a tile keeps live: accumulators, and inputs or weights of a pass.

    Where the text's order holds and only one tap is read at a time, the fewer of its inputs and its weights stay, and
    the others come one by one.
    """
    taps, vectors = len(kernel.patterns[0]), kernel.tile[0] * kernel.tile[1]
    if kernel.positions:
        return (kernel.positions + 1) * (kernel.group // kernel.output.lanes) + 1
    if kernel.holds_input:
        rows, cols = footprint(kernel, kernel.tile)
        return rows * cols + kernel.group * taps + 1
    single, several = target.spare_registers
    spare = single if kernel.passes == 1 else several
    by_lane = kernel.by_lane * target.lanes
    if by_lane and taps == 1:
        spare = -1  # all weights at once, and a pair of inputs
    held = weight_loads(-(-taps // kernel.passes), kernel.group, by_lane)
    alone = kernel.group == 1 and (kernel.by_table or taps == 1)
    if target.text_order and kernel.passes == taps and (alone or vectors < kernel.group):
        held, spare = min(held, vectors), 0
    return kernel.group * vectors * (kernel.copies if kernel.mixed else 1) + held + 1 - spare


def kernel_cycles(
    kernel: ConvKernel, tile: tuple[int, int], target: Target, channels: int, weights_bytes: float
) -> float:
    """Estimate the cycles of one kept kernel (of a whole group of filters) on one tile of vectors."""
    terms = kernel_terms(kernel, tile, target, channels, weights_bytes)
    fma = terms.pop("multiply-adds")
    costs = target.costs
    both = fma**costs.overlap + sum(terms.values()) ** costs.overlap
    return float(both ** (1 / costs.overlap)) + costs.loop / kernel.copies


def kernel_terms(
    kernel: ConvKernel, tile: tuple[int, int], target: Target, channels: int, weights_bytes: float
) -> dict[str, float]:
    """Estimate what a kept kernel's cycles on one tile consist of: multiply-adds, and what feeds them."""
    taps = len(kernel.patterns[0])
    vectors = tile[0] * tile[1]
    # Of Winograd's points, `Winograd.cycles` counts the way of weights that are fetched ahead.
    near = weights_bytes < target.l2_bytes / 2 or (kernel.points > 1 and kernel.prefetch_weights)
    weight_lines = target.dtype.elem_bytes * taps * kernel.group / LINE_BYTES
    weight_cycles = weight_lines * (target.costs.l2_line if near else target.costs.far_weights)
    if kernel.holds_input:
        return {
            "multiply-adds": kernel.group * vectors * taps / target.fma_units,
            "loads from L1": (target.costs.load * vectors + target.costs.weight * taps) * kernel.group,
            "sums that wait": target.costs.held_sum * vectors * kernel.group,
            "weights": weight_cycles,
        }
    # Tap by tap, all accumulators take turns; in the order of the loads, each has its taps close together.
    latency = FMA_LATENCY if kernel.passes == taps else target.costs.burst
    fma = max(kernel.group * vectors * taps / target.fma_units, latency * taps / kernel.copies)
    sample = kernel.patterns[:SAMPLED_PATTERNS]
    widest = load_width(kernel, tile, target.vector_registers)
    count = sum(loads(kernel, p, tile, kernel.passes, widest) for p in sample) / len(sample)
    # Side by side, weights come in pairs as well.
    weights = weight_loads(taps, kernel.group, 2 * target.lanes * kernel.by_lane)
    lines = input_lines(kernel, tile, target)
    rows, cols = footprint(kernel, tile)
    moves = rows * min(1.0, kernel.source.row_vectors / REACH) if kernel.by_lane else rows
    line = 0.0
    if not kernel.block and beyond_l1(kernel, target, channels, tile):
        fits_l2 = channels * rows * cols * target.vector_bytes <= 0.6 * target.l2_bytes
        line = target.costs.l2_line if fits_l2 else target.costs.far_line
    sums = kernel.by_channel * kernel.group * vectors
    return {
        "multiply-adds": fma,
        "loads from L1": target.costs.load * (count + sums)
        + target.costs.weight * weights
        + target.costs.row * moves
        + target.costs.tap * taps * kernel.by_table / kernel.copies,
        "sums that wait": target.costs.held_sum * sums,
        "input from beyond L1": line * lines,
        "weights": weight_cycles,
    }


def input_lines(kernel: ConvKernel, tile: tuple[int, int], target: Target) -> float:
    """Return how many cache lines of input a kernel reads for a tile, on average over the patterns."""
    sample = kernel.patterns[:SAMPLED_PATTERNS]
    return sum(loads(kernel, p, tile, 1) for p in sample) / len(sample) * target.vector_bytes / LINE_BYTES


def beyond_l1(kernel: ConvKernel, target: Target, channels: int, tile: tuple[int, int] | None = None) -> bool:
    """Tell whether the input under a tile does not stay in L1 from one filter to the next.

    The weights of dense layers take as much of L1 as their input does; those of sparse ones hardly any.
    """
    share = 0.5 if kernel.uniform else 0.8
    lines = input_lines(kernel, tile or kernel.tile, target)
    return channels * lines * LINE_BYTES > share * target.l1_bytes


def surprises(mean: float) -> float:
    """Estimate the share of loops whose end is mispredicted, for counts that scatter like Poisson's around a mean.

    The most frequent count is what the predictor takes.
    """
    return 1 - 1 / sqrt(1 + 2 * pi * mean)


def group_cycles(
    kernel: ConvKernel, tile: tuple[int, int], target: Target, channels: int, filters: int, kernels: float
) -> float:
    """Estimate what a group of filters with so many `kernels` costs on one tile besides them.

    That is visits, runs, start and epilogue. A run of a length of its own ends by surprise, most often.

    An output that leaves the L2 cache costs more per vector, and most for each stretch of neighbouring vectors.
    """
    costs, vectors, rows = target.costs, tile[0] * tile[1], tile[0]
    visits, turns = _turns(kernel, tile, target, channels)
    if kernel.pool:
        vectors, rows = vectors // 4, rows // 2
    far = filters * kernel.output.plane_bytes > target.l2_bytes
    store = (
        costs.far_store * vectors * target.vector_bytes / LINE_BYTES + costs.far_row * rows
        if far
        else costs.store * vectors
    )
    runs = visits * kernel.runs
    turns_of_loops = (kernels + runs) * filters / kernel.group * kernel.points
    unknown = 0.0 if kernel.uniform else min(1.0, turns_of_loops / costs.remembered)
    if kernel.points > 1:
        unknown *= costs.again
    ends = runs * (costs.run + unknown * costs.surprise * surprises(kernels / runs))
    text = text_bytes(kernel, tile)
    if kernel.runs * text > TEXT_SHARE * target.l1_bytes:
        ends += runs * (1 - exp(-kernels / runs)) * costs.text * text / LINE_BYTES
    return ends + turns + kernel.group * store + costs.group


def text_bytes(kernel: ConvKernel, tile: tuple[int, int]) -> float:
    """Estimate the machine code of a run's loop: multiply-adds of registers, and loads with an offset.

    By channel, loads and stores of sums alone: with those of a block's input the model ranks schedules worse.
    """
    sums = kernel.group * tile[0] * tile[1] / (2 if kernel.mixed else 1)
    loaded = 2 * sums if kernel.by_channel else loads(kernel, kernel.patterns[0], tile, kernel.passes)
    return 6.0 * sums * len(kernel.patterns[0]) + 8.0 * loaded


def _turns(kernel: ConvKernel, tile: tuple[int, int], target: Target, channels: int) -> tuple[float, float]:
    """Return a group's visits to a tile, and the cycles that they cost besides runs.

    Each visit but the last puts the sums aside; each span brings a block's input from L2 to L1 once. By channel, all
    groups of a span share a visit, and it is kernels that put sums aside.
    """
    costs, (high, wide) = target.costs, footprint(kernel, tile)
    fill = costs.fill * channels * high * (wide * target.vector_bytes / LINE_BYTES + 0.5) / kernel.span
    blocks = -(-channels // kernel.block) if kernel.block else channels
    if kernel.by_channel:
        visits = blocks / kernel.span
        return visits, fill if kernel.block else visits * costs.hold * high * wide
    if kernel.block:
        aside = costs.put_aside * kernel.group * tile[0] * tile[1]
        return blocks, (blocks - 1) * (costs.visit + aside) + fill
    return 1.0, 0.0


def load_width(kernel: ConvKernel, tile: tuple[int, int], registers: int) -> int:
    """Return how many neighbouring vectors one load may bring.

    Two where weights stand side by side, as AArch64 loads two registers at once. Kernels of one tap read whole rows,
    with loads of as many registers as are left.
    """
    if not kernel.by_lane:
        return 1
    if len(kernel.patterns[0]) > 1 or kernel.source.dtype.converts:
        return 2
    sums = kernel.group * kernel.copies * tile[0] * tile[1]
    free = registers - sums - weight_loads(1, kernel.group, kernel.source.lanes)
    return max(2, min(MULTIPLE, free))


@lru_cache(maxsize=4096)
def loads(kernel: ConvKernel, pattern: Taps, tile: tuple[int, int], passes: int, widest: int = 1) -> int:
    """Count distinct input vectors, or the loads that bring up to `widest` neighbours each.

    See `loads.load_program` for the same walk with its uses.
    """
    (sy, sx), (dy, dx) = kernel.stride, kernel.dilation
    places = [(r * sy, c * sx) for r in range(tile[0]) for c in range(tile[1])]
    total = 0
    for run in cut_taps(len(pattern), passes):
        found = {(r + pattern[t][0] * dy, c + pattern[t][1] * dx) for r, c in places for t in run}
        total += load_count([r * APART + c for r, c in sorted(found)], widest)
    return total


def footprint(kernel: ConvKernel, tile: tuple[int, int]) -> tuple[int, int]:
    """Give the rows and columns of input vectors under a tile."""
    rows, cols = (
        (tile[i] - 1) * kernel.stride[i] + (kernel.size[i] - 1) * kernel.dilation[i] + 1 for i in (0, 1)
    )
    return rows, cols
