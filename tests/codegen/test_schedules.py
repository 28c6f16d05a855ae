"""Any schedule gives the right numbers, also those that the cost model would never choose."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.cache import Cache
from pconv.graph import GraphView
from pconv.lower import choice, filter_lanes, lower
from pconv.lower.kernels import ConvKernel
from pconv.lower.schedule import GROUPS, Schedule, in_slices
from pconv.lower.winograd import SLICES
from pconv.targets import Target

from .harness import EVERY_CORE, assert_right, host_targets, random_feeds, run_here, run_under_qemu

BASE = (
    *("dense_wide", "dense_residual", "dense_s2_odd", "dense_dilation2", "dense_pool", "dense_2x2"),
    *("free", "free_pool", "group4", "group4_uneven", "group16_all_alike", "kernels_5x5", "layer_removed"),
    *("depthwise_3x3s2_small", "pointwise_group4", "pointwise_deep"),
    *("pointwise_free", "pointwise_free_s2", "pointwise_filter_removed"),
)
SLICED = (
    *(
        "free",
        "free_wide",
        "free_s2",
        "free_dilation2",
        "free_1x1_image",
        "free_56_shapes",
        "free_126_shapes",
    ),
    *("free_filter_removed", "free_groups"),
)


def any_tile(seed: int) -> Callable[..., tuple[Schedule, ...]]:
    """Return what draws a schedule; made-up cycles make the choice between sparse and dense random too."""

    def draw(
        bare: ConvKernel, target: Target, channels: int, kernels: int, classes: tuple[int, ...]
    ) -> tuple[Schedule, ...]:
        random = Random(zlib.crc32(repr((seed, bare, kernels)).encode()))
        unit, out = 2 if bare.pool else 1, bare.computed
        kernel = replace(
            bare,
            group=random.choice([g for g in GROUPS if g <= max(classes)]),
            tile=(
                unit * random.randint(1, min(4, out.block_h // unit)),
                unit * random.randint(1, min(4, out.block_w // unit)),
            ),
            passes=random.randint(1, len(bare.patterns[0])),
            copies=random.randint(1, 3),
            block=random.choice([0, 1, 3, 8]),
            by_table=random.random() < 0.5 and not target.fma_by_lane,
        )
        kernel = replace(kernel, span=random.randint(1, 5) if kernel.block else 1)
        if bare.size == (1, 1) and len(classes) > 1 and not bare.widen_after and random.random() < 0.5:
            kernel = replace(kernel, mixed=True, group=random.randint(1, 4), by_table=False)
        if random.random() < 0.3 and target.holds_input and not bare.uniform and kernel.points == 1:
            plain = replace(kernel, block=0, by_table=False, mixed=False, passes=1, copies=1)
            kernel = replace(
                plain, by_channel=True, block=random.choice([0, 2, 8]), span=random.randint(1, 9)
            )
            if not (kernel.block or kernel.pool) and channels >= SLICES.points and random.random() < 0.5:
                kernel = in_slices(kernel, sum(-(-size // kernel.group) for size in classes))
        if random.random() < 0.3 and filter_lanes.able(bare, target):
            kernel = random.choice(list(filter_lanes.candidates(bare, target)))
            rows = random.randint(1, out.block_h)
            kernel = replace(kernel, positions=random.randint(1, kernel.positions), tile=(rows, out.block_w))
        return (Schedule(kernel, random.random()),)

    return draw


def network_of(names: Sequence[str]) -> GraphView:
    known = {case.name: case for family in FAMILIES.values() for case in family}
    return network([known[name] for name in names], probe=True)


@pytest.mark.cc
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_schedule(seed: int, session_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "rank_schedules", any_tile(seed))
    view = network_of(BASE)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, host_targets()[0], session_cache, feeds))


def in_slices_alone(
    bare: ConvKernel, target: Target, channels: int, kernels: int, classes: tuple[int, ...]
) -> tuple[Schedule, ...]:
    """Offer slices of the channels wherever a layer may have them, in tiles of two vectors."""
    kernel = replace(bare, by_channel=True, tile=(1, min(2, bare.computed.block_w)))
    return (Schedule(in_slices(kernel, sum(classes)), 1.0),)


@pytest.mark.cc
def test_slices_of_the_channels(session_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of unequal length, all of a filter removed, residuals, shapes, strides, and groups of channels."""
    monkeypatch.setattr(choice, "rank_schedules", in_slices_alone)
    view, target = network_of(SLICED), host_targets()[0]
    sliced = [step for step in lower(view, target).steps if step.name.endswith(":sum")]
    assert len(sliced) == len(SLICED)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.qemu
def test_any_schedule_on_aarch64(
    session_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "rank_schedules", any_tile(3))
    view, target = network_of(BASE), targets.get("aarch64", dtype="fp16")
    feeds = random_feeds(view)
    results = run_under_qemu(view, session_cache, feeds, tmp_path, target, EVERY_CORE["fp16"])
    assert_right(view, feeds, results, "fp16")
