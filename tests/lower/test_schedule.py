"""A schedule covers the block once, fits the registers, and is the best that the cost model knows."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv import targets
from pconv.lower.cost import registers_needed
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import Layout
from pconv.lower.reorder import all_taps
from pconv.lower.schedule import MIXED_GROUPS, rank_schedules, schedules
from pconv.lower.tiles import split, tiles
from pconv.targets import Target

from .test_loads import KERNEL

TARGETS = [targets.get(name) for name in targets.names()]


@given(st.integers(1, 200), st.integers(1, 30), st.sampled_from([1, 2]))
def test_split_is_even(total: int, part: int, unit: int) -> None:
    total *= unit
    pieces = split(total, max(part, unit), unit)
    assert sum(pieces) == total
    assert all(0 < p <= max(part, unit) and p % unit == 0 for p in pieces)
    assert pieces == sorted(pieces, reverse=True) and pieces[0] - pieces[-1] <= unit


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
)
def test_tiles_cover_the_block_once(block: tuple[int, int], tile: tuple[int, int], pool: bool) -> None:
    output = Layout(4 * block[0], 4 * block[1], 4, 4, *block)
    if pool:
        tile = (2 * tile[0], 2 * tile[1])
    kernel = replace(KERNEL, output=output, tile=tile, pool=pool)
    seen = Counter(
        (row, col)
        for y, x, rows, cols in tiles(kernel)
        for row in range(y, y + rows)
        for col in range(x, x + cols)
    )
    computed = kernel.computed
    assert (computed.block_h, computed.block_w) == tuple((2 if pool else 1) * b for b in block)
    assert set(seen) == {(y, x) for y in range(computed.block_h) for x in range(computed.block_w)}
    assert set(seen.values()) == {1}
    assert all(r <= tile[0] and c <= tile[1] for _, _, r, c in tiles(kernel))
    if pool:
        assert all(n % 2 == 0 for t in tiles(kernel) for n in t)


def assert_fits(kernel: ConvKernel, target: Target) -> None:
    smallest = (2, 2) if kernel.pool else (1, 1)
    if kernel.tile != smallest or kernel.group > 1:
        assert registers_needed(kernel, target) <= target.vector_registers, kernel.name


@given(
    st.sampled_from(TARGETS),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.sampled_from([1, 4, 9, 25, 49, 121]),
    st.sampled_from([(48,), (1,) * 48, (2,) * 24, (3,) * 16, (4,) * 12, (5, 7, 12, 24), (16,) * 3]),
    st.booleans(),
)
def test_chosen_tiles_fit_the_registers(
    target: Target, block: tuple[int, int], taps: int, classes: tuple[int, ...], pool: bool
) -> None:
    output = Layout(4 * block[0], 4 * block[1], 4, target.lanes_f32 // 4, *block)
    pattern = all_taps(11, 11)[:taps]
    bare = replace(KERNEL, size=(11, 11), output=output, patterns=(pattern,), pool=pool)
    schedules = rank_schedules(bare, target, 64, 400, classes)
    assert [s.cycles for s in schedules] == sorted(s.cycles for s in schedules)
    for schedule in schedules:
        kernel = schedule.kernel
        assert_fits(kernel, target)
        assert schedule.cycles > 0
        assert kernel.group == 1 or max(classes) > 1
        assert 1 <= kernel.passes <= taps
        assert kernel.by_channel or (kernel.block > 0) == (kernel.span > 1)
        assert not (kernel.by_channel and (kernel.by_table or kernel.prefetch_kernel))
        assert not (kernel.by_channel and kernel.block), "one shape makes long runs"
        assert kernel.parts == 1 or len(tiles(kernel)) > 1
        plain = replace(
            kernel,
            tile=bare.tile,
            group=1,
            passes=1,
            copies=1,
            block=0,
            span=1,
            parts=1,
            by_table=False,
            by_channel=False,
            positions=0,
        )
        off = dict.fromkeys(
            ("prefetch_next", "prefetch_output", "prefetch_kernel", "prefetch_weights"), False
        )
        assert replace(plain, **off) == bare


@pytest.mark.parametrize(
    ("shapes", "cpu", "offered"), [(56, "znver4", True), (8, "znver4", False), (56, "", False)]
)
def test_many_shapes_are_sorted_over_blocks_of_channels(shapes: int, cpu: str, offered: bool) -> None:
    """Where that was measured to pay; sums then have a quarter of L2."""
    target = targets.get("x86-64-v4", cpu or None)
    patterns = tuple(combinations(all_taps(3, 3), 4))[:shapes]
    bare = replace(KERNEL, size=(3, 3), patterns=patterns)
    ways = [schedule.kernel for schedule in schedules(bare, target, 256, 18432, (1,) * 256)]
    sums = [k.span * k.tile[0] * k.tile[1] * target.vector_bytes for k in ways if k.by_channel]
    assert any(k.by_channel and k.block for k in ways) == offered
    assert max(sums) <= (target.l2_bytes // 4 if offered else 1.25 * target.l1_bytes)
    for kernel in ways:
        assert_fits(kernel, target)


def test_an_index_of_groups_and_channels_fits_16_bits() -> None:
    """Small kernels in many shapes leave L1 room for many channels, and L2 for the sums of thousands of filters."""
    patterns = tuple(combinations(all_taps(2, 3), 3))
    output = Layout(4, 4, 4, 4, 1, 1)
    bare = replace(KERNEL, size=(2, 3), patterns=patterns, output=output)
    found = schedules(bare, targets.get("x86-64-v4", "znver4"), 20, 85_000, (1,) * 8500)
    ways = [schedule.kernel for schedule in found if schedule.kernel.by_channel and schedule.kernel.block]
    assert ways and all(kernel.span * kernel.block <= 0xFFFF for kernel in ways)


@pytest.mark.parametrize(
    ("shapes", "cpu", "block", "offered"),
    [(56, "znver4", 2, True), (56, "znver4", 4, False), (8, "znver4", 2, False), (56, "", 2, False)],
)
def test_many_shapes_on_few_tiles_take_slices_of_the_channels(
    shapes: int, cpu: str, block: int, offered: bool
) -> None:
    """Where filters would be shared out else; each slice has all of them, and their sums fit a quarter of L2."""
    target = targets.get("x86-64-v4", cpu or None)
    patterns = tuple(combinations(all_taps(3, 3), 4))[:shapes]
    output = Layout(4 * block, 4 * block, 4, 4, block, block)
    bare = replace(KERNEL, size=(3, 3), patterns=patterns, output=output)
    ways = [schedule.kernel for schedule in schedules(bare, target, 256, 18432, (1,) * 256)]
    sliced = [kernel for kernel in ways if kernel.slices > 1]
    assert bool([k for k in sliced if len(tiles(k)) == 1]) == offered
    for kernel in sliced:
        assert (kernel.slices, kernel.span, kernel.residual) == (4, 256, None)
        assert len(tiles(kernel)) < 4 and kernel.holds_input
        assert kernel.span * kernel.tile[0] * kernel.tile[1] * target.vector_bytes <= target.l2_bytes // 4
        assert_fits(kernel, target)


def test_more_kernels_cost_more() -> None:
    target = targets.get("x86-64-v4")
    alone = (1,) * 64
    cycles = [rank_schedules(KERNEL, target, 64, kernels, alone)[0].cycles for kernels in (64, 640, 4096)]
    assert cycles == sorted(cycles) and cycles[0] < cycles[-1]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_what_is_far_is_fetched_ahead_where_that_pays(target: Target) -> None:
    def fetched(channels: int, kernels: int) -> set[tuple[bool, bool]]:
        ways = schedules(KERNEL, target, channels, kernels, (1,) * 64)
        return {(k.prefetch_kernel, k.prefetch_weights) for k in (s.kernel for s in ways) if not k.block}

    far = target.l2_bytes // (len(KERNEL.patterns[0]) * target.dtype.elem_bytes)
    pays = target.fetches_ahead
    assert {weights for _, weights in fetched(2, far // 16)} == {False}
    assert {weights for _, weights in fetched(2, far)} == {pays}
    assert {kernel for kernel, _ in fetched(2, 64)} == {False}
    assert pays == any(kernel for kernel, _ in fetched(4096, 4096))


def test_single_taps_are_fetched_ahead_where_filters_share_them() -> None:
    target = targets.get("x86-64-v4")
    bare = replace(KERNEL, size=(1, 1), pads=(0, 0), patterns=(((0, 0),),))
    ways = [s.kernel for s in schedules(bare, target, 4096, 16384, (16,) * 4)]
    assert {k.prefetch_kernel for k in ways if k.group < 3} == {False}
    assert any(k.prefetch_kernel for k in ways if k.group >= 3)
    assert {k.fetched for k in ways if k.copies == 1} == {4}


def test_single_taps_of_single_filters_may_have_small_tiles_and_large_blocks() -> None:
    """Nothing is shared among their vectors; the fewer these are, the more channels stay in L1."""
    target = targets.get("x86-64-v4")
    bare = replace(
        KERNEL, size=(1, 1), pads=(0, 0), patterns=(((0, 0),),), output=Layout(112, 112, 4, 4, 28, 28)
    )
    ways = [s.kernel for s in schedules(bare, target, 4096, 16384, (1,) * 64)]
    blocks = {k.tile: k.block for k in ways if k.block and k.group == 1}
    assert min(rows * cols for rows, cols in blocks) == 7
    assert max(rows * cols for rows, cols in blocks) >= 14
    for (rows, cols), block in blocks.items():
        assert 0.7 < block * rows * cols * target.vector_bytes / (target.block_share * target.l1_bytes) <= 1


def test_unlike_filters_of_single_taps_may_go_together() -> None:
    target = targets.get("x86-64-v4")
    single = replace(KERNEL, size=(1, 1), pads=(0, 0), patterns=(((0, 0),),))
    mixed = [s.kernel for s in schedules(single, target, 64, 1024, (1,) * 64) if s.kernel.mixed]
    assert {k.group for k in mixed} == set(MIXED_GROUPS)
    assert all(k.runs == len(k.sharers) == 2**k.group - 1 for k in mixed)
    assert mixed[0].sharers[:3] == ((0,), (1,), (0, 1))
    alike = schedules(replace(single, uniform=True), target, 64, 4096, (64,))
    with_taps = schedules(KERNEL, target, 64, 1024, (1,) * 64)
    halves = schedules(replace(single, widen_after=256), target, 64, 1024, (1,) * 64)
    assert not any(s.kernel.mixed for some in (alike, with_taps, halves) for s in some)


def test_shared_filters_are_computed_together() -> None:
    target = targets.get("x86-64-v4")
    alone = rank_schedules(KERNEL, target, 64, 1024, (1,) * 64)[0]
    shared = rank_schedules(KERNEL, target, 64, 1024, (4,) * 16)[0]
    assert alone.kernel.group == 1 and shared.kernel.group in (2, 4)
    assert shared.cycles < alone.cycles


def test_a_class_that_does_not_fill_its_groups_keeps_the_rest_together() -> None:
    target = targets.get("x86-64-v4")
    assert rank_schedules(KERNEL, target, 64, 1024, (4,) * 15 + (3,))[0].kernel.group > 1


@pytest.mark.parametrize(("channels", "most"), [(16, 0), (32, 2), (320, 4)])
def test_runs_of_mixed_filters_fill_a_turn(channels: int, most: int) -> None:
    one = replace(KERNEL, size=(1, 1), pads=(0, 0), patterns=(((0, 0),),), by_lane=True)
    found = schedules(one, targets.get("aarch64"), channels, channels // 4 * 64, (1,) * 64)
    assert max((s.kernel.group for s in found if s.kernel.mixed), default=0) == most
