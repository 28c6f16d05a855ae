"""A depthwise layer runs within the convolution before it, block by block, and gives the same answers to the bit."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph.models import make, node, normalise
from pconv import targets
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.lower.plan import Plan
from pconv.runtime import Engine
from pconv.targets import Target

from .harness import EVERY_CORE, HOSTS, assert_right, random_feeds, run_here, run_under_qemu

SMALL_L2 = 256 << 10
FILTERS = 48


def chain(
    image: tuple[int, int],
    size: int = 3,
    stride: int = 1,
    group: int = 0,
    removed: bool = False,
    outputs: str = "y",
    depth: int = 1,
    between: str = "",
) -> GraphView:
    """Build expand (1x1; with a group, three of four kernels removed), a depthwise layer, project.

    Some filters of the depthwise layer are `removed`; it makes `depth` channels of each. `between` is what comes before
    it, besides: another "depthwise" layer, or a "shortcut".
    """
    random = np.random.default_rng((size, stride, group))
    planes = FILTERS * depth
    weights = {
        "expand.weight": random.standard_normal((FILTERS, 8, 1, 1), np.float32),
        "expand.bias": random.standard_normal(FILTERS, np.float32),
        "dw.weight": random.standard_normal((planes, 1, size, size), np.float32),
        "dw.bias": random.standard_normal(planes, np.float32),
        "project.weight": random.standard_normal((8, planes, 1, 1), np.float32),
    }
    if group:
        kept = np.repeat(random.random((FILTERS // group, 8)) < 0.25, group, axis=0)
        weights["expand.weight"] *= kept[:, :, None, None]
        weights["dw.weight"] *= random.random((planes, 1, size, size)) < 0.5
    if removed:
        weights["dw.weight"][[0, 5, 23]] = 0
    pads = [size // 2] * 4
    weights["again.weight"] = weights["dw.weight"][:FILTERS, :, :3, :3].copy()
    weights["skip.weight"] = weights["expand.weight"][::-1].copy()
    before = {
        "": [node("Relu", "e", "er")],
        "depthwise": [
            node("Conv", "e again.weight", "a", "again", group=FILTERS, pads=[1] * 4),
            node("Relu", "a", "er"),
        ],
        "shortcut": [
            node("Sigmoid", "x", "xs"),
            node("Conv", "xs skip.weight", "s", "skip"),
            node("Add", "e s", "es", "add"),
            node("Relu", "es", "er"),
        ],
    }
    nodes = [
        node("Conv", "x expand.weight expand.bias", "e", "expand"),
        *before[between],
        node("Conv", "er dw.weight dw.bias", "d", "dw", group=FILTERS, pads=pads, strides=[stride] * 2),
        node("Relu", "d", "dr"),
        node("Conv", "dr project.weight", "y", "project"),
    ]
    return normalise(make(nodes, {"x": [1, 8, *image]}, outputs.split(), weights))


def within(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps if step.within]


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
@pytest.mark.parametrize(
    "view",
    [
        chain((45, 37)),
        chain((40, 64), stride=2, group=4),
        chain((33, 33), size=5, group=2, removed=True),
        chain((31, 50), size=5, stride=2),
        chain((64, 7), removed=True),
        chain((45, 37), group=4, between="depthwise"),
    ],
    ids=["dense", "stride2_group4", "5x5_group2", "5x5_stride2", "removed", "two"],
)
def test_answers_are_those_of_two_layers(target: Target, view: GraphView, session_cache: Cache) -> None:
    small = replace(target, l2_bytes=SMALL_L2)
    together, apart = lower(view, small), lower(view, replace(small, pairs=False))
    assert within(together) in (["dw"], ["again"]) and not within(apart)
    feeds = random_feeds(view)
    answers = run_here(view, small, session_cache, feeds)
    assert_right(view, feeds, answers)
    with Engine(build(generate(apart), cache=session_cache)) as engine:
        np.testing.assert_array_equal(engine(*feeds.values()), answers["y"])


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
@pytest.mark.parametrize(
    ("view", "claims"),
    [
        (chain((45, 37), group=4), True),
        (chain((33, 33), size=5, group=2, removed=True), True),
        (chain((40, 64), stride=2), False),
    ],
    ids=["stride1", "5x5", "stride2"],
)
def test_lines_that_are_claimed_are_filled(
    target: Target, view: GraphView, claims: bool, session_cache: Cache
) -> None:
    """Several threads write to the lines of the layer behind before, where each tile has a place in them."""
    claiming = replace(target, l2_bytes=SMALL_L2, claims=True)
    plan = lower(view, claiming)
    (first,) = (step for step, behind in pairwise(plan.steps) if behind.within)
    assert (first.kernel.claims is not None) == claims
    feeds = random_feeds(view)
    answers = run_here(view, replace(claiming, claims=False), session_cache, feeds)
    with Engine(build(generate(plan), cache=session_cache), threads=3) as engine:
        for _ in range(20):
            np.testing.assert_array_equal(engine(*feeds.values()), answers["y"])


@pytest.mark.cc
@pytest.mark.qemu
@pytest.mark.parametrize("dtype", EVERY_CORE)
@pytest.mark.parametrize(
    "view",
    [chain((45, 37), stride=2, group=4), chain((33, 33), size=5, removed=True)],
    ids=["stride2_group4", "5x5_removed"],
)
def test_answers_on_aarch64(view: GraphView, dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    target = replace(targets.get("linux-aarch64", dtype=dtype), l2_bytes=SMALL_L2 // 2)
    assert within(lower(view, target)) == ["dw"]
    feeds = random_feeds(view)
    answers = run_under_qemu(view, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype])
    assert_right(view, feeds, answers, dtype)


@pytest.mark.parametrize(
    "view",
    [
        chain((45, 37), outputs="y er"),
        chain((45, 37), depth=2),
        chain((45, 37), between="shortcut"),
        chain((5, 5)),
    ],
    ids=["a caller reads between", "two filters a channel", "a shortcut between", "small images"],
)
def test_what_stays_apart(view: GraphView) -> None:
    assert not within(lower(view, replace(targets.get("x86-64-v4"), l2_bytes=SMALL_L2)))


def test_a_block_is_a_quarter_of_l2_at_most_and_all_threads_get_some() -> None:
    target = replace(targets.get("x86-64-v4"), l2_bytes=SMALL_L2)
    plan = lower(chain((45, 37), group=4), target)
    (behind,) = (step for step in plan.steps if step.within)
    first = plan.steps[plan.steps.index(behind) - 1]
    assert first.output == behind.inputs[0] and first.output.space == "scratch"
    assert first.tasks >= 4 and behind.tasks == 0
    assert first.output.channels * first.tasks == FILTERS
    assert first.output.nbytes == plan.scratch_bytes <= SMALL_L2 // 4
    np.testing.assert_array_equal(first.data["order"], np.arange(FILTERS))
    assert sorted(behind.data["order"]) == list(range(FILTERS))
    assert "in turns with dw" in first.work.reason and "in turns with expand" in behind.work.reason
