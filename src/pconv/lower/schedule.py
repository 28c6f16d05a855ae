"""Choose a tile, a filter group and the passes for a convolution, by the cost model.

block 14 x 14 vectors, tile 5 x 5         rows 5 5 4, columns 5 5 4: nine tiles of four shapes
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from pconv.lower.cost import footprint, group_cycles, kernel_cycles, kernel_terms, registers_needed
from pconv.lower.kernels import ConvKernel
from pconv.targets import Target

GROUPS = (1, 2, 3, 4, 6, 8)
MAX_ROWS = 8
MAX_COLS = 16
TEXT_LIMIT = 20_000
MIN_ACCUMULATORS = 8
MAX_COPIES = 4
MANY_TILES = 32
RANKED = 24
MAX_FILLED = 1.34


@dataclass(frozen=True, slots=True)
class Schedule:
    """A micro-kernel and its modelled cycles for the whole layer."""

    kernel: ConvKernel
    cycles: float


def split(total: int, part: int, unit: int = 1) -> list[int]:
    """Split `total` into pieces of at most `part`, as even as possible, larger ones first, in whole units."""
    if unit > 1:
        return [unit * piece for piece in split(total // unit, max(1, part // unit))]
    count = -(-total // part)
    base, extra = divmod(total, count)
    return [base + 1] * extra + [base] * (count - extra)


def tiles(kernel: ConvKernel) -> list[tuple[int, int, int, int]]:
    """List the tiles of a layer as (y, x, rows, cols) in vectors."""
    found = []
    y = 0
    out, unit = kernel.computed, 2 if kernel.pool else 1
    for rows in split(out.block_h, kernel.tile[0], unit):
        x = 0
        for cols in split(out.block_w, kernel.tile[1], unit):
            found.append((y, x, rows, cols))
            x += cols
        y += rows
    return found


@lru_cache(maxsize=4096)
def rank_schedules(
    bare: ConvKernel, target: Target, channels: int, kernels: int, classes: tuple[int, ...]
) -> tuple[Schedule, ...]:
    """Return the best schedules, best first, for a layer with `kernels` kept kernels.

    `classes` are the sizes of the sets of filters that may go together.
    """
    found = []
    filters = sum(classes)
    for group in GROUPS:
        groups = sum(-(-size // group) for size in classes)
        if group > 1 and len(classes) > 1 and groups * group > MAX_FILLED * filters:
            continue
        for tile, passes in _candidates(bare, target, group):
            copies = max(1, min(MAX_COPIES, MIN_ACCUMULATORS // (group * tile[0] * tile[1])))
            kernel = replace(bare, group=group, tile=tile, passes=passes, copies=copies)
            if bare.uniform and bare.size == (1, 1):
                kernel = replace(kernel, block=_block(kernel, target, kernels // filters))
            kernel = _prefetch(kernel, target, channels, filters)
            found.append(Schedule(kernel, _layer_cycles(kernel, target, channels, kernels, filters, groups)))
    assert found, "a tile of one vector always fits"
    ranked = sorted(found, key=lambda schedule: schedule.cycles)[:RANKED]
    # What the model does not price: the best tile, fetching ahead the other way round.
    first = ranked[0].kernel
    other = (
        replace(first, prefetch_next=not first.prefetch_next),
        replace(first, prefetch_output=not first.prefetch_output),
    )
    return (*ranked, *(Schedule(kernel, ranked[-1].cycles) for kernel in other))


def bound(schedule: Schedule, target: Target, channels: int, kernels: int) -> str:
    """Name what limits a schedule by the cost model: the larger of multiply-adds and what feeds them."""
    kernel = schedule.kernel
    weights_bytes = float(target.dtype.elem_bytes * kernels * len(kernel.patterns[0]))
    terms = kernel_terms(kernel, kernel.tile, target, channels, weights_bytes)
    fma = terms.pop("multiply-adds")
    return "multiply-adds" if fma >= sum(terms.values()) else max(terms, key=lambda name: terms[name])


def _prefetch(kernel: ConvKernel, target: Target, channels: int, filters: int) -> ConvKernel:
    """Fetch ahead what will not be in L2: the next tile's input where there are many tiles, and the output."""
    far = target.l2_bytes // 2
    return replace(
        kernel,
        prefetch_next=not kernel.by_lane
        and len(tiles(kernel)) >= MANY_TILES
        and channels * kernel.source.plane_bytes > far,
        prefetch_output=not kernel.by_lane and filters * kernel.output.plane_bytes > far,
    )


def _block(kernel: ConvKernel, target: Target, kernels: int) -> int:
    """Return how many kernels' input stays in half of L1; 0 where nearly all of it does."""
    rows, cols = footprint(kernel, kernel.tile)
    fitting = max(8, target.l1_bytes // (2 * rows * cols * target.vector_bytes))
    fitting = min(fitting, kernel.widen_after or fitting)
    return fitting if kernels > 1.5 * fitting else 0


def _candidates(bare: ConvKernel, target: Target, group: int) -> list[tuple[tuple[int, int], int]]:
    taps = len(bare.patterns[0])
    out, unit = bare.computed, 2 if bare.pool else 1
    found: set[tuple[tuple[int, int], int]] = set()
    for rows in range(unit, min(out.block_h, MAX_ROWS) + 1, unit):
        for cols in range(unit, min(out.block_w, MAX_COLS) + 1, unit):
            tile = (split(out.block_h, rows, unit)[0], split(out.block_w, cols, unit)[0])
            vectors = tile[0] * tile[1]
            if group * vectors * taps * len(bare.patterns) > TEXT_LIMIT and vectors > unit * unit:
                continue
            fitting = [p for p in range(1, taps + 1) if _fits(bare, target, group * vectors, group, p)]
            found.update((tile, passes) for passes in fitting[:1])
            # A pass for each row of taps keeps few weights and still loads every vector once a row.
            if bare.by_lane and taps == bare.size[0] * bare.size[1] and bare.size[0] in fitting:
                found.add((tile, bare.size[0]))
    smallest = ((unit, unit), taps)
    full = max((t[0] * t[1] for t, _ in found), default=1)
    fallback = [smallest] if group == 1 else []
    return sorted((t, p) for t, p in found if 2 * t[0] * t[1] >= full) or fallback


def _fits(bare: ConvKernel, target: Target, accumulators: int, group: int, passes: int) -> bool:
    """Tell whether accumulators, a pass's weights and the inputs find registers.

    By trial: in a single pass the compiler may keep a weight in memory; in several it wants two registers for loads
    that run ahead.
    """
    taps, by_lane = len(bare.patterns[0]), bare.by_lane * target.lanes
    spare = 1 if passes == 1 else -2
    if by_lane and taps == 1:
        spare = -1  # all weights at once, and a pair of inputs
    needed = registers_needed(taps, passes, group, accumulators // group, by_lane)
    return needed <= target.vector_registers + spare


def _layer_cycles(
    kernel: ConvKernel, target: Target, channels: int, kernels: int, filters: int, groups: int
) -> float:
    per_group = kernels / filters
    weights_bytes = float(target.dtype.elem_bytes * kernels * len(kernel.patterns[0]))
    total = 0.0
    for (rows, cols), count in Counter((t[2], t[3]) for t in tiles(kernel)).items():
        per_kernel = kernel_cycles(kernel, (rows, cols), target, channels, weights_bytes)
        each = per_group * per_kernel + group_cycles(kernel, (rows, cols), target, filters)
        total += count * groups * each
    return total
