"""What is written over an input: where that is allowed, and that the answers stay right."""

from pathlib import Path

import pytest

from graph.models import make, node, normalise, rand
from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.cache import Cache
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.lower.plan import Plan
from pconv.targets import Target

from .harness import HOSTS, assert_right, lowered, random_feeds, run_here, run_under_qemu

V4 = targets.get("x86-64-v4")
RESIDUAL = {
    name: [case for case in family if case.op == "Conv" and case.tensors == 2]
    for name, family in FAMILIES.items()
}
RESIDUAL = {name: cases for name, cases in RESIDUAL.items() if cases}


def blocks(outputs: str = "y", adds: str = "a") -> GraphView:
    """Build two residual blocks, of which the second adds its own input or that of the first, between two layers."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", "x stem.w", "s", "stem", **same),
        node("Conv", "s inner.w", "i", "inner", **same),
        node("Conv", "i first.w", "f", "first", **same),
        node("Add", "f s", "a"),
        node("Conv", "a deep.w", "d", "deep", **same),
        node("Conv", "d second.w", "g", "second", **same),
        node("Add", f"g {adds}", "b"),
        node("Conv", "b last.w", "y", "last", **same),
    ]
    names = ("stem", "inner", "first", "deep", "second", "last")
    weights = {f"{name}.w": rand(8, 8, 3, 3, seed=i) / 8 for i, name in enumerate(names)}
    return normalise(make(nodes, {"x": [1, 8, 21, 19]}, outputs.split(), weights))


def over(plan: Plan) -> dict[str, str]:
    return {step.name: step.over for step in plan.steps if step.over}


def test_residual_layers_write_over_what_they_add() -> None:
    plan = lower(blocks(), V4)
    assert over(plan) == {"first": "s", "second": "a"}
    places = {step.output.name: step.output.offset for step in plan.steps}
    assert places["s"] == places["a"] == places["b"] != places["d"]


def test_what_is_read_later_stays() -> None:
    assert over(lower(blocks(adds="s"), V4)) == {"second": "s"}
    assert over(lower(blocks("y a"), V4)) == {"first": "s"}


def test_what_a_layer_also_reads_otherwise_stays() -> None:
    """A convolution of what it adds reads neighbours of what is written."""
    nodes = [
        node("Conv", "x w", "c", "conv", pads=[1, 1, 1, 1]),
        node("Add", "c x", "s"),
        node("Relu", "s", "y"),
    ]
    view = normalise(make(nodes, {"x": [1, 8, 21, 19]}, ["y"], {"w": rand(8, 8, 3, 3)}))
    assert over(lower(view, V4)) == {}


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_what_is_made_once_stays_for_the_next_run(target: Target, session_cache: Cache) -> None:
    nodes = [node("Conv", "x w", "c", "conv"), node("Add", "c k", "y")]
    weights = {"w": rand(8, 8, 1, 1), "k": rand(1, 8, 21, 19)}
    view = normalise(make(nodes, {"x": [1, 8, 21, 19]}, ["y"], weights))
    assert over(lower(view, target)) == {}
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))


def test_work_items_of_a_gpu_overlap() -> None:
    assert over(lower(blocks(), targets.get("opencl"))) == {}


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
@pytest.mark.parametrize("family", RESIDUAL)
def test_answers_stay_right(target: Target, family: str, session_cache: Cache) -> None:
    view = network(RESIDUAL[family])
    assert len(over(lowered(view, target))) == len(RESIDUAL[family])
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_blocks_behind_one_another(target: Target, session_cache: Cache) -> None:
    for view in (blocks(), blocks(adds="s"), blocks("y a")):
        feeds = random_feeds(view)
        assert_right(view, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_on_aarch64(dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    view, target = blocks(), targets.get("aarch64", dtype=dtype)
    found = {name.removesuffix(":inverse"): place for name, place in over(lower(view, target)).items()}
    assert found == {"first": "s", "second": "a"}
    feeds = random_feeds(view)
    assert_right(view, feeds, run_under_qemu(view, session_cache, feeds, tmp_path, target, ["max"]), dtype)
