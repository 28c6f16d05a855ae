"""Images that lie side by side in the lanes give what each of them gives alone, on every target."""

import json
import subprocess
from itertools import cycle
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from graph.models import make, node, normalise, rand
from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.build import build, build_bench
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.graph import GraphView
from pconv.lower import fold
from pconv.lower.plan import Part
from pconv.runtime import Engine
from pconv.targets import Target

from .harness import (
    EVERY_CORE,
    HOSTS,
    Feeds,
    Results,
    assert_right,
    build_for_qemu,
    host_targets,
    lowered,
    random_feeds,
    run_main,
)
from .random_network import random_network

FOLDABLE = [family for family in FAMILIES if family != "rows"]
"""Those of images."""
CORE = {dtype: cores[-1] for dtype, cores in EVERY_CORE.items()}


def samples_of(view: GraphView, count: int) -> Feeds:
    """Draw a batch."""
    drawn = [random_feeds(view, seed) for seed in range(count)]
    return {name: np.concatenate([each[name] for each in drawn]) for name in view.inputs}


def sample(values: Feeds | Results, i: int) -> Feeds:
    return {name: array[i : i + 1] for name, array in values.items()}


def run_here(view: GraphView, target: Target, images: int, cache: Cache, feeds: Feeds) -> Results:
    """Run a batch after one of NaN, on one thread and on two; single samples must agree to the bit."""
    plan = lowered(view, target, images)
    assert plan.images == images and plan.count("folded") > 0
    path, arrays = build(generate(plan), cache=cache), [feeds[name] for name in view.inputs]
    results = []
    for threads in (1, 2):
        with Engine(path, threads=threads) as engine:
            engine(*(np.full_like(array, np.nan) for array in arrays))
            found = engine(*arrays)
            results.append(found if isinstance(found, tuple) else (found,))
            alone = engine(*(array[-1:] for array in arrays))
            results.append((*(alone if isinstance(alone, tuple) else (alone,)),))
    first, *others = results
    for other in others:
        for name, one, two in zip(view.outputs, first, other, strict=True):
            np.testing.assert_array_equal(one[-len(two) :], two, err_msg=name)
    return dict(zip(view.outputs, first, strict=True))


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images lie side by side however large they are."""
    monkeypatch.setattr(fold, "MOST_VECTORS", 1 << 20)


def assert_each_right(view: GraphView, feeds: Feeds, results: Results, dtype: str = "fp32") -> None:
    for i in range(len(feeds[view.inputs[0]])):
        assert_right(view, sample(feeds, i), sample(results, i), dtype)


@pytest.mark.cc
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("family", FOLDABLE)
@pytest.mark.parametrize("target", HOSTS)
def test_every_micro_kernel_on_this_machine(target: Target, family: str, session_cache: Cache) -> None:
    view, images = network(FAMILIES[family], probe=True), min(target.lanes, 8)
    feeds = samples_of(view, 2)
    assert_each_right(view, feeds, run_here(view, target, images, session_cache, feeds))


@pytest.mark.cc
@pytest.mark.parametrize(("seed", "images"), [(2, 2), (14, 4), (18, 8), (34, 16), (38, 4)])
def test_before_folded_and_behind(
    seed: int, images: int, session_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, target = random_network(seed, nodes=14), host_targets()[0]
    monkeypatch.setattr(fold, "MOST_VECTORS", 96 // target.lanes)  # small is the same on every host
    images = min(images, target.lanes)
    plan = lowered(view, target, images)
    assert min(plan.count(part) for part in get_args(Part)) > 1
    feeds = samples_of(view, images + 1)
    assert_each_right(view, feeds, run_here(view, target, images, session_cache, feeds))


@pytest.mark.cc
def test_a_slice_of_what_is_folded_meets_what_is_not(session_cache: Cache) -> None:
    """The product runs for each image behind, and needs its own early value."""
    nodes = [
        node("Softmax", "z", "early", axis=1),
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Slice", "c begin end axis", "some"),
        node("Mul", "some early", "y"),
    ]
    weights = {"w": rand(16, 8, 3, 3), "begin": np.array([0]), "end": np.array([8]), "axis": np.array([1])}
    view = normalise(make(nodes, {"x": [1, 8, 7, 7], "z": [1, 8, 7, 7]}, ["y"], weights))
    target = host_targets()[0]
    feeds = samples_of(view, 3)
    assert_each_right(view, feeds, run_here(view, target, target.lanes, session_cache, feeds))


@pytest.mark.cc
def test_a_constant_behind_is_the_same_for_every_image(session_cache: Cache) -> None:
    """Its copy in another layout is read by a step that would write over it."""
    nodes = [
        node("Conv", "x a", "c", pads=[1, 1, 1, 1]),
        node("DepthToSpace", "c", "d", blocksize=4),
        node("Conv", "d b", "e", pads=[1, 1, 1, 1]),
        node("Add", "e position", "f"),
        node("Relu", "f", "g"),
        node("Conv", "g h", "y", pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    weights = {
        "a": rand(16, 8, 3, 3), "b": rand(32, 1, 3, 3), "position": rand(1, 32, 28, 28), "h": rand(8, 32, 3, 3),
    }  # fmt: skip
    view, target = normalise(make(nodes, {"x": [1, 8, 7, 7]}, ["y"], weights)), host_targets()[0]
    copies = [
        s for s in lowered(view, target, target.lanes).all_steps if s.name.endswith("position:relayout")
    ]
    assert all(step.once for step in copies)
    feeds = samples_of(view, 3)
    assert_each_right(view, feeds, run_here(view, target, target.lanes, session_cache, feeds))


@pytest.mark.cc
@pytest.mark.usefixtures("any_size")
def test_pconv_bench_runs_as_many_as_lie_side_by_side(session_cache: Cache, tmp_path: Path) -> None:
    view = random_network(14, nodes=14)
    program = generate(lowered(view, host_targets()[0], 4))
    feeds = samples_of(view, 4)
    (tmp_path / "x").write_bytes(b"".join(feeds[name].tobytes() for name in view.inputs))
    bench = build_bench(program, tmp_path / "pconv_bench", cache=session_cache)
    files = ["--input", tmp_path / "x", "--output", tmp_path / "y"]
    done = subprocess.run([bench, "--repeat", "2", *files], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["batch"] == 4
    with Engine(build(program, cache=session_cache)) as engine:
        answers = engine(*(feeds[name] for name in view.inputs))
    answers = answers if isinstance(answers, tuple) else (answers,)
    expected = np.concatenate([np.ravel(each) for each in answers])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y", np.float32), expected)


@pytest.mark.qemu
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(("family", "dtype"), [*zip(FOLDABLE, cycle(("fp32", "fp16")), strict=False)])
def test_every_micro_kernel_on_aarch64(family: str, dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    view, target = network(FAMILIES[family], probe=True), targets.get("aarch64", dtype=dtype)
    feeds = samples_of(view, 2)
    main = build_for_qemu(view, session_cache, tmp_path, target, images=4)
    assert_each_right(view, feeds, run_main(main, view, feeds, CORE[dtype]), dtype)
