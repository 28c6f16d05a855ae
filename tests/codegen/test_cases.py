"""Every micro-kernel computes what the reference does, on every target that runs here or in an emulator."""

import shutil
from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lower.test_schedule import assert_fits
from pconv import targets
from pconv.bench.case import Case, network
from pconv.bench.registry import FAMILIES
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.graph.spec import ACTIVATIONS
from pconv.lower import kernels as k
from pconv.lower import lower
from pconv.runtime import Engine
from pconv.targets import Target

from .harness import (
    EVERY_CORE,
    HOSTS,
    assert_right,
    host_targets,
    lowered,
    random_feeds,
    run_here,
    run_under_qemu,
)

ONE_OF_EACH = (
    "group4_s2 free_pool dense_pool_partial pointwise_deep depthwise_3x3s2 gemm_odd gemm_sparse_odd maxpool3s2_pads "
    "maxpool3s2_ceil avgpool3s2_exclude global_average_inner flatten_inner pad_inner concat_inner softmax_planes "
    "affine_inner tanh_inner add_inner gate_inner linear_inner silu_inner gelu_inner elu_inner "
    "gelutanh_inner quickgelu_inner argmax_inner keep_inner round_inner"
)


def _cases(names: str) -> list[Case]:
    found = [case for family in FAMILIES.values() for case in family if case.name in names.split()]
    assert len(found) == len(names.split())
    return found


def test_this_machine_runs_a_target() -> None:
    assert host_targets(), "no target fits this CPU"


@pytest.mark.cc
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", HOSTS)
def test_on_this_machine(target: Target, family: str, session_cache: Cache) -> None:
    view = network(FAMILIES[family], probe=True)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.qemu
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", EVERY_CORE)
def test_on_aarch64(dtype: str, family: str, session_cache: Cache, tmp_path: Path) -> None:
    view, target = network(FAMILIES[family], probe=True), targets.get("aarch64", dtype=dtype)
    feeds = random_feeds(view)
    results = run_under_qemu(view, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype])
    assert_right(view, feeds, results, dtype)


@pytest.mark.qemu
@pytest.mark.parametrize(("dtype", "core"), [("fp32", "cortex-a53"), ("fp16", "max")])
def test_loads_ahead_for_a_core_in_order(dtype: str, core: str, session_cache: Cache, tmp_path: Path) -> None:
    view, target = network(_cases(ONE_OF_EACH), probe=True), targets.get("aarch64", "cortex-a55", dtype)
    plan = lowered(view, target)
    ahead = [step.kernel for step in plan.steps if isinstance(step.kernel, k.ConvKernel)]
    assert all(kernel.ahead for kernel in ahead) and {len(c.patterns[0]) > 1 for c in ahead} == {False, True}
    feeds = random_feeds(view)
    assert_right(view, feeds, run_under_qemu(view, session_cache, feeds, tmp_path, target, [core]), dtype)


@pytest.mark.qemu
def test_the_oldest_core_refuses_halves(session_cache: Cache, tmp_path: Path) -> None:
    view = network(_cases("add"))
    with pytest.raises(AssertionError) as refused:
        target = targets.get("aarch64", dtype="fp16")
        run_under_qemu(view, session_cache, random_feeds(view), tmp_path, target)
    said = "exit code 5: this CPU lacks instructions that the model was compiled for (it needs asimd,fp,asimdhp,fphp)"
    assert said in str(refused.value)


ACTIVATED = [
    f"{kind}{where}"
    for kind in ("relu", "clip", "leaky", "silu", "gelu", "gelutanh", "quickgelu")
    for where in ("", "_inner")
]


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_what_is_no_number_stays_that(target: Target, session_cache: Cache) -> None:
    """As in torch and ONNX: an activation hides nothing."""
    view = network(_cases(f"dense_small gemm_odd {' '.join(ACTIVATED)}"))
    feeds = {name: np.full(view.shapes[name], np.nan, np.float32) for name in view.inputs}
    with Engine(build(generate(lower(view, target)), cache=session_cache)) as engine:
        for name, result in zip(view.outputs, engine(*feeds.values()), strict=True):
            assert np.isnan(result).all(), name


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
@pytest.mark.parametrize("kind", ["gelu", "gelutanh"])
def test_gelu_of_what_is_infinite(target: Target, kind: str, session_cache: Cache) -> None:
    view = network(_cases(kind))
    with Engine(build(generate(lower(view, target)), cache=session_cache)) as engine:
        for x, wanted in ((np.inf, np.inf), (-np.inf, 0), (-1e30, 0), (1e30, np.float32(1e30))):
            (shape,) = (view.shapes[name] for name in view.inputs)
            assert (engine(np.full(shape, x, np.float32)) == wanted).all()


@pytest.mark.cc
def test_with_the_hosts_compiler(session_cache: Cache) -> None:
    assert shutil.which("gcc"), "this test needs gcc (Debian: gcc)"
    names = (
        "free group4 dense_residual dense_pool depthwise_3x3s2 pointwise_group4 gemm_sparse maxpool3s2 tanh"
    )
    view = network(_cases(names), probe=True)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, host_targets()[0], session_cache, feeds, cc="gcc"))


@pytest.mark.parametrize("name", targets.names())
def test_no_micro_kernel_is_without_a_case(name: str) -> None:
    """Every kind, and every switch of a kind in all positions that the target has, occurs in the registry, and fits
    the registers.
    """
    target = targets.get(name)
    kernels = [
        kernel
        for family in FAMILIES.values()
        for probe in (False, True)  # with one, a residual has another halo than the output
        for step in lowered(network(family, probe=probe), target).all_steps
        for kernel in step.kernels
    ]
    positions = {
        "by_lane": {target.fma_by_lane},
        "ahead": {target.in_order},
        "by_table": {False, target.text_order},
        "by_channel": {False, target.holds_input},
        "prefetch_next": {False, not target.fma_by_lane},
        "prefetch_output": {False, not target.fma_by_lane},
        "prefetch_kernel": {False, target.fetches_ahead},
        "prefetch_weights": {False, target.fetches_ahead},
    }
    elsewhere = set() if target.lanes_f32 == k.INTERLEAVED else {k.InterleaveKernel}
    assert {type(kernel) for kernel in kernels} == set(k.Kernel.__args__) - elsewhere
    for kind in k.Kernel.__args__:
        made = [kernel for kernel in kernels if type(kernel) is kind]
        for switch in (f.name for f in fields(kind) if f.type is bool):
            wanted = positions.get(switch, {False, True})
            assert {getattr(kernel, switch) for kernel in made} == wanted, f"{kind.__name__}.{switch}"
    convs = [kernel for kernel in kernels if isinstance(kernel, k.ConvKernel)]
    for conv in convs:
        assert_fits(conv, target)
    assert {c.residual is None for c in convs} == {False, True}
    assert {c.passes > 1 for c in convs} == {False, True}
    assert {c.block > 0 for c in convs} == {c.copies > 1 for c in convs} == {False, True}
    assert {c.parts > 1 for c in convs} == {c.points > 1 for c in convs} == {False, True}
    assert {c.positions > 0 for c in convs} == {False, True}
    in_lanes = [c for c in convs if c.positions]
    for switch in ("residual", "uniform", "in_place"):
        assert {bool(getattr(c, switch)) for c in in_lanes} == {False, True}
    transforms = [kernel for kernel in kernels if isinstance(kernel, k.WinogradInputKernel)]
    assert {t.strip > 1 for t in transforms} == {False, target.strips}
    points = [c for c in convs if c.points > 1]
    assert {c.uniform for c in points} == {c.block > 0 for c in points} == {False, True}
    assert {min(c.group, 4) for c in convs} >= {1, 2, 4}
    assert max(len(c.patterns) for c in convs) > 64
    assert {c.activation.kind for c in convs} >= {"none", "relu", "clip", "tanh", "silu", "gelu", "elu"}
    assert {e.activation.kind for e in kernels if isinstance(e, k.ElementwiseKernel)} == set(ACTIVATIONS)
    gemms = [kernel for kernel in kernels if isinstance(kernel, k.GemmKernel)]
    assert {g.index_bits for g in gemms} == {16, 32}
    assert {g.streams > 1 for g in gemms} == {target.fetches_ahead}
    pools = [kernel for kernel in kernels if isinstance(kernel, k.PoolKernel | k.PoolTableKernel)]
    assert {(type(p), p.kind) for p in pools} == {
        (t, kind) for t in (k.PoolKernel, k.PoolTableKernel) for kind in ("max", "average")
    }
    resizes = [kernel for kernel in kernels if isinstance(kernel, k.ResizeKernel)]
    assert {(r.output.planar, r.nearest) for r in resizes} == set(product((False, True), repeat=2))
    assert {r.taps == (2, 2) for r in resizes} == {False, True}
    elementwise = [kernel for kernel in kernels if isinstance(kernel, k.ElementwiseKernel)]
    assert {e.op for e in elementwise} == {
        "add",
        "sub",
        "mul",
        "div",
        "keep",
        "max",
        "min",
        "affine",
        "prelu",
        "copy",
    }
    assert {e.other for e in elementwise} == {"", "plane", "pixel", "one"}


def test_long_sums_of_halves_have_cases() -> None:
    """They go into floats in one run, in many, in blocks, from several sets of accumulators; short ones do not."""
    target = targets.get("aarch64", dtype="fp16")
    steps = [step for family in FAMILIES.values() for step in lower(network(family), target).steps]
    convs = [step.kernel for step in steps if isinstance(step.kernel, k.ConvKernel)]
    widened = [c for c in convs if c.widen_after]
    assert 0 < len(widened) < len(convs)
    assert {c.block > 0 for c in widened} == {False, True}
    assert {len(c.patterns) > 8 for c in widened} == {False, True}
    assert {c.copies > 1 for c in widened} == {False, True}
    plain = lower(network(FAMILIES["layers"]), targets.get("aarch64", dtype="fp16-fp32acc")).steps
    assert not any(step.kernel.widen_after for step in plain if isinstance(step.kernel, k.ConvKernel))


def test_names_are_unique() -> None:
    names = [case.name for family in FAMILIES.values() for case in family]
    assert len(set(names)) == len(names)
