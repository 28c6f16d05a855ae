"""Choose a tile, a filter group and the passes for a convolution, by the cost model."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb

from pconv.lower import filter_lanes
from pconv.lower.cost import beyond_l1, footprint, group_cycles, kernel_cycles, kernel_terms, registers_needed
from pconv.lower.kernels import Activation, ConvKernel
from pconv.lower.layout import LINE_BYTES
from pconv.lower.tiles import split, tiles
from pconv.lower.winograd import SLICES
from pconv.targets import Target

GROUPS = (1, 2, 3, 4, 6, 8)
MIXED_GROUPS = (2, 3, 4)
"""Filters with kernels of their own: twice as many runs with each more."""
MAX_ROWS = 8
MAX_COLS = 16
TEXT_LIMIT = 20_000
MIN_ACCUMULATORS = 8
MAX_COPIES = 4
MANY_TILES = 32
RANKED = 24
MAX_FILLED = 1.34
LONE_VECTORS = 7
"""Vectors of a tile, from which on its own loads are most of what a single tap of a single filter costs."""
SINGLE_SUMS = 4
"""How many times as many sums may wait where filters have single taps: each block's input serves each of them less."""
MANY_WEIGHTS = 8
"""The part of L2 from which on weights are fetched ahead is one in so many."""
FETCHING_GROUP = 3
"""Filters that share a vector at least, where kernels of one tap are fetched ahead."""
HELD_CHANNELS = 8
"""Channels from which on that is tried: each sum goes to memory first, and comes back at the end."""
MANY_SHAPES = 16
"""Shapes beyond which runs are so short that sums may take a quarter of L2, and blocks of channels are tried."""
MIN_SLICE = 16
"""Channels of a slice at least: its sums cost as much as one or two of them."""
SHARES = 4
"""Tasks that a layer has at least, tiles times spans of groups: threads share it in those."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A micro-kernel and its modelled cycles for the whole layer."""

    kernel: ConvKernel
    cycles: float


def schedules(
    bare: ConvKernel, target: Target, channels: int, kernels: int, classes: tuple[int, ...]
) -> Iterator[Schedule]:
    """Give every schedule for a layer with `kernels` kept kernels.

    `classes` are the sizes of the sets of filters that may go together.
    """
    filters = sum(classes)
    for grouped, groups in _grouped(bare, channels, kernels, classes):
        for kernel in _candidates(grouped, target, kernels / filters / grouped.runs):
            near = _prefetch(kernel, target, channels, filters, kernels)
            if kernel.by_channel and channels < HELD_CHANNELS:
                continue
            if kernels <= channels:  # depthwise: no two filters read the same
                ways = [] if kernel.by_channel else [near]
            elif kernel.by_channel:
                ways = [_spanned(near, target, groups), *_sliced(near, target, channels, groups)]
            else:
                blocked = _blocked(near, target, channels, groups)
                ways = [near, blocked] if target.text_order else [blocked]
            for unparted in dict.fromkeys(ways):
                way = _parted(unparted, target, channels, kernels, groups)
                yield Schedule(way, layer_cycles(way, target, channels, kernels, filters, groups))
    if kernels > channels and filter_lanes.able(bare, target):
        for kernel in filter_lanes.candidates(bare, target):
            if groups := _filled(classes, kernel.group):
                way = _parted(kernel, target, channels, kernels, groups)
                yield Schedule(way, layer_cycles(way, target, channels, kernels, filters, groups))


def _grouped(
    bare: ConvKernel, channels: int, kernels: int, classes: tuple[int, ...]
) -> Iterator[tuple[ConvKernel, int]]:
    """Give the groups of filters that a layer may have, and how many of them: of like filters, and mixed ones."""
    filters = sum(classes)
    for group in GROUPS:
        if groups := _filled(classes, group):
            yield replace(bare, group=group), groups
    single = bare.patterns == (((0, 0),),) and bare.size == (1, 1)
    if single and not bare.widen_after and len(classes) > 1 and kernels > channels:
        for group in MIXED_GROUPS:
            mixed = replace(bare, group=group, mixed=True)
            visits = sum(count for _, count in _served(mixed, channels, kernels, filters))
            if visits >= mixed.runs * mixed.turn:  # shorter runs would go kernel by kernel
                yield mixed, -(-filters // group)


def _filled(classes: tuple[int, ...], group: int) -> int:
    """Count the groups of like filters, 0 where too many of their places would stay empty."""
    groups = sum(-(-size // group) for size in classes)
    return groups if len(classes) == 1 or groups * group <= MAX_FILLED * sum(classes) else 0


@lru_cache(maxsize=4096)
def rank_schedules(
    bare: ConvKernel, target: Target, channels: int, kernels: int, classes: tuple[int, ...]
) -> tuple[Schedule, ...]:
    """Return the best schedules, best first; see `schedules`."""
    found = sorted(schedules(bare, target, channels, kernels, classes), key=lambda schedule: schedule.cycles)
    assert found, "a tile of one vector always fits"
    ranked = tuple(found[:RANKED])
    if not any(schedule.kernel.positions for schedule in ranked):  # tuning measures the best of these, too
        ranked += tuple(schedule for schedule in found[RANKED:] if schedule.kernel.positions)[:1]
    # What the model does not price: the best tile, fetching ahead the other way round.
    first = ranked[0].kernel
    if first.positions:
        return ranked
    other = [
        replace(first, prefetch_output=not first.prefetch_output),
        replace(first, prefetch_weights=not first.prefetch_weights),
    ]
    if not first.by_channel:
        other.append(replace(first, prefetch_next=not first.prefetch_next))
    if not (first.by_lane or first.by_table or first.by_channel):
        other.append(replace(first, prefetch_kernel=not first.prefetch_kernel))
    return (*ranked, *(Schedule(kernel, ranked[-1].cycles) for kernel in other))


def bound(schedule: Schedule, target: Target, channels: int, kernels: int) -> str:
    """Name what limits a schedule by the cost model: the larger of multiply-adds and what feeds them."""
    kernel = schedule.kernel
    if kernel.mixed:
        kernel = replace(kernel, group=-(-kernel.group // 2), mixed=False)
    weights_bytes = float(target.dtype.elem_bytes * kernels * len(kernel.patterns[0]))
    if kernel.positions:
        terms = filter_lanes.terms(kernel, target, channels, weights_bytes)
    else:
        terms = kernel_terms(kernel, kernel.tile, target, channels, weights_bytes)
    fma = terms.pop("multiply-adds")
    return "multiply-adds" if fma >= sum(terms.values()) else max(terms, key=lambda name: terms[name])


def _prefetch(kernel: ConvKernel, target: Target, channels: int, filters: int, kernels: int) -> ConvKernel:
    """Fetch ahead what will not be in L2: the next tile's input where there are many tiles, output, and weights.

    Weights leave L2 before a network comes back to them: fetching pays where a layer has so many that they are not read
    again and again. What will not be in L1 of a kernel's input to come is fetched too; of single taps there are as many
    fetches as loads, which pays where each vector serves a group of filters.
    """
    far = target.l2_bytes // 2
    weights = target.dtype.elem_bytes * kernels * len(kernel.patterns[0]) * kernel.points
    return replace(
        kernel,
        prefetch_next=not (kernel.by_lane or kernel.by_channel)
        and len(tiles(kernel)) >= MANY_TILES
        and channels * kernel.source.plane_bytes > far,
        prefetch_output=not kernel.by_lane and filters * kernel.output.plane_bytes > far,
        prefetch_weights=target.fetches_ahead and weights > target.l2_bytes // MANY_WEIGHTS,
        prefetch_kernel=target.fetches_ahead
        and not (kernel.by_table or kernel.by_channel or kernel.mixed)
        and (len(kernel.patterns[0]) > 1 or (kernel.group >= FETCHING_GROUP and not kernel.uniform))
        and beyond_l1(kernel, target, channels),
    )


def _blocked(kernel: ConvKernel, target: Target, channels: int, groups: int) -> ConvKernel:
    """Let groups take turns on as many channels as fit L1, unless nearly all of them do."""
    if not (target.text_order or (kernel.uniform and kernel.size == (1, 1))):
        return kernel
    rows, cols = footprint(kernel, kernel.tile)
    whole = (_lone(kernel) or kernel.mixed) and target.vector_bytes % LINE_BYTES == 0
    ragged = 0.0 if whole else 0.5
    lines = rows * (cols * target.vector_bytes / LINE_BYTES + ragged)
    fitting = max(4, int(target.block_share * target.l1_bytes / (lines * LINE_BYTES)))
    fitting = min(fitting, kernel.widen_after or fitting)
    if channels <= 1.3 * fitting:
        return kernel
    sums_bytes = kernel.group * kernel.tile[0] * kernel.tile[1] * target.vector_bytes
    room = target.kept_bytes * (SINGLE_SUMS if _lone(kernel) or kernel.mixed else 1)
    span = max(1, room // sums_bytes)
    span = min(span, -(-groups // max(1, SHARES // len(tiles(kernel)))))
    if span == 1:
        return kernel
    return replace(
        kernel, block=_evenly(channels, fitting), span=_evenly(groups, span), prefetch_kernel=False
    )


def _spanned(kernel: ConvKernel, target: Target, groups: int) -> ConvKernel:
    """Let each channel, or block of them, go to as many groups at a time as have sums that stay near.

    Of a block, index counts the groups times its channels in 16 bits.
    """
    near = min(_waiting(kernel, target), 0xFFFF // max(1, kernel.block))
    span = min(near, -(-groups // max(1, SHARES // len(tiles(kernel)))))
    return replace(kernel, span=_evenly(groups, max(1, span)))


def _sliced(kernel: ConvKernel, target: Target, channels: int, groups: int) -> list[ConvKernel]:
    """Let each channel go to all groups where these would be shared out as tasks: then its runs are longest.

    Tasks have a slice of the channels instead, whose sums go to planes of their own.
    """
    shared = len(tiles(kernel)) < SHARES and channels >= MIN_SLICE * SLICES.points
    if not (shared and kernel.holds_input and _many_shapes(kernel, target)) or kernel.pool:
        return []
    if groups > _waiting(kernel, target):
        return []
    return [in_slices(kernel, groups)]


def in_slices(kernel: ConvKernel, groups: int) -> ConvKernel:
    """Return the micro-kernel that sums up slices of the channels for all groups, and leaves the epilogue to a step."""
    return replace(
        kernel,
        output=replace(kernel.computed, top=0, left=0, bottom=0, right=0),
        residual=None,
        activation=Activation(),
        span=groups,
        slices=SLICES.points,
        prefetch_output=False,
    )


def _waiting(kernel: ConvKernel, target: Target) -> int:
    """Return how many groups have sums that stay near."""
    sums_bytes = kernel.group * kernel.tile[0] * kernel.tile[1] * target.vector_bytes
    near = target.l2_bytes // 4 if _many_shapes(kernel, target) else int(target.held_share * target.l1_bytes)
    return near // sums_bytes


def _many_shapes(kernel: ConvKernel, target: Target) -> bool:
    return target.lends_l2 and len(kernel.patterns) > MANY_SHAPES


def _parted(kernel: ConvKernel, target: Target, channels: int, kernels: int, groups: int) -> ConvKernel:
    """Go through the tiles once for each part of the filters where that brings fewer bytes to L2."""
    near, count = target.l2_bytes // 2, len(tiles(kernel))
    weights = target.dtype.elem_bytes * kernels * len(kernel.patterns[0])
    parts = min(groups, max(1, -(-weights // near)))
    whole = channels * kernel.source.plane_bytes
    if (
        count == 1
        or parts == 1
        or kernel.slices > 1
        or count * weights + whole <= weights + (parts if whole > near else 1) * whole
    ):
        return kernel
    return replace(kernel, parts=parts, span=min(kernel.span, -(-groups // parts)))


def _evenly(total: int, most: int) -> int:
    """Return the size of equal pieces, none larger than `most`."""
    return -(-total // -(-total // most))


def _candidates(bare: ConvKernel, target: Target, length: float) -> list[ConvKernel]:
    """List what fits the registers: each tile with the fewest passes, and with the taps of all shapes in a table.

    `length` is that of a run, on average.
    """
    out, unit = bare.computed, 2 if bare.pool else 1
    most = target.vector_registers if bare.points > 1 and bare.by_lane else MAX_COLS
    found: set[ConvKernel] = set()
    for rows in range(unit, min(out.block_h, MAX_ROWS) + 1, unit):
        for cols in range(unit, min(out.block_w, most) + 1, unit):
            tile = (split(out.block_h, rows, unit)[0], split(out.block_w, cols, unit)[0])
            found |= set(_of_tile(replace(bare, tile=tile), target, length))
    if not found and bare.group == 1:
        return [replace(bare, tile=(unit, unit), passes=len(bare.patterns[0]), copies=_copies(unit**2))]
    full: dict[tuple[bool, bool], int] = {}
    for kernel in found:
        full[_order(kernel)] = max(min(_area(kernel), _enough(kernel)), full.get(_order(kernel), 1))
    return sorted(
        (k for k in found if 2 * _area(k) >= full[_order(k)]),
        key=lambda k: (k.tile, k.passes, k.by_table, _order(k)),
    )


def _order(kernel: ConvKernel) -> tuple[bool, bool]:
    """Tell the orders of loops apart: whether by channel, and whether by blocks of them."""
    return kernel.by_channel, kernel.block > 0


def _enough(kernel: ConvKernel) -> int:
    """Return the vectors beyond which a larger tile is not better for what it shares among its vectors."""
    return 2 * LONE_VECTORS if _lone(kernel) else MAX_ROWS * MAX_COLS


def _lone(kernel: ConvKernel) -> bool:
    """Tell whether single filters read single taps, which share no loads and hardly any weights."""
    return kernel.size == (1, 1) and kernel.group == kernel.points == 1


def _area(kernel: ConvKernel) -> int:
    """Return the vectors of a tile."""
    return kernel.tile[0] * kernel.tile[1]


def _copies(accumulators: int) -> int:
    """Return how many sets of so many accumulators hide the latency of a multiply-add."""
    return max(1, min(MAX_COPIES, MIN_ACCUMULATORS // accumulators))


def _of_tile(kernel: ConvKernel, target: Target, length: float) -> Iterator[ConvKernel]:
    """Give the ways to run one tile that fit the registers."""
    taps, vectors = len(kernel.patterns[0]), kernel.tile[0] * kernel.tile[1]
    copies = _copies(kernel.group * vectors)
    if (
        kernel.mixed
    ):  # one filter's runs have a tile's sums alone; those of points end as the last point's did
        most = _copies(vectors) if kernel.points > 1 else 1
        copies = next(n for n in range(most, 0, -1) if n == 1 or _fits(replace(kernel, copies=n), target))
    if kernel.by_lane and kernel.group * vectors < MIN_ACCUMULATORS and length >= 2 * copies:
        copies = max(copies, 2)  # rather one set too many than one too few: there are registers
    if kernel.group * vectors * taps * len(kernel.patterns) <= TEXT_LIMIT or vectors == 1:
        ways = [replace(kernel, passes=passes, copies=copies) for passes in range(1, taps + 1)]
        fitting = [way for way in ways if _fits(way, target)]
        # Tap by tap one filter needs a load for each multiply-add: a table does as well, with less code.
        lone = target.text_order and kernel.group == 1
        yield from [way for way in fitting[:1] if not (lone and way.passes == taps > 1)]
        # A pass for each row of taps keeps few weights and still loads every vector once a row.
        if kernel.by_lane and taps == kernel.size[0] * kernel.size[1]:
            yield from [way for way in fitting[1:] if way.passes == kernel.size[0]]
    others = []
    if len(kernel.patterns) > 1 and target.text_order:
        others.append(replace(kernel, passes=taps, copies=copies, by_table=True))
    if taps > 1 and kernel.group == 1 and target.holds_input and not kernel.uniform:
        others.append(replace(kernel, by_channel=True))
        if _many_shapes(kernel, target):
            rows, cols = footprint(kernel, kernel.tile)
            lines = target.l1_bytes // (2 * rows * cols * target.vector_bytes)
            others.append(replace(kernel, by_channel=True, block=1 << max(1, lines.bit_length() - 1)))
    yield from (way for way in others if _fits(way, target))


def _fits(kernel: ConvKernel, target: Target) -> bool:
    return registers_needed(kernel, target) <= target.vector_registers


def layer_cycles(
    kernel: ConvKernel, target: Target, channels: int, kernels: int, filters: int, groups: int
) -> float:
    """Estimate the cycles of a layer with so many kept kernels, and filters in so many groups."""
    if kernel.positions:
        return filter_lanes.cycles(kernel, target, kernels, filters, groups)
    weights_bytes = float(target.dtype.elem_bytes * kernels * len(kernel.patterns[0]))
    served = _served(kernel, channels, kernels, filters)
    per_group = sum(count for _, count in served)
    total = 0.0
    for (rows, cols), count in Counter((t[2], t[3]) for t in tiles(kernel)).items():
        each = group_cycles(kernel, (rows, cols), target, channels, filters, per_group)
        for some, often in served:
            each += often * kernel_cycles(some, (rows, cols), target, channels, weights_bytes)
        total += count * groups * each
    if kernel.slices > 1:  # each vector goes to memory once for every slice, and comes back
        total += target.costs.transform * kernel.slices * filters * kernel.output.plane_vectors
    return total


def _served(kernel: ConvKernel, channels: int, kernels: int, filters: int) -> list[tuple[ConvKernel, float]]:
    """Give what a group's kept kernels are like, each for some of its filters, and how many are like that.

    Filters of a mixed group keep kernels as if by chance, though those were put together that have more in common.
    """
    if not kernel.mixed:
        return [(kernel, kernels / filters)]
    group, kept = kernel.group, kernels / filters / channels
    return [
        (
            replace(kernel, group=n),
            channels * comb(group, n) * kept**n * (1 - kept) ** (group - n),
        )
        for n in range(1, group + 1)
    ]
