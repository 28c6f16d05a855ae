"""Every micro-kernel computes what the reference does, on every target that runs here or in an emulator."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.cache import Cache
from pconv.lower import kernels as k
from pconv.lower import lower
from pconv.targets import Target

from .harness import HOSTS, assert_right, host_targets, random_feeds, run_here, run_under_qemu


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
def test_on_aarch64(family: str, session_cache: Cache, tmp_path: Path) -> None:
    view = network(FAMILIES[family], probe=True)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_under_qemu(view, session_cache, feeds, tmp_path))


@pytest.mark.cc
def test_with_the_hosts_compiler(session_cache: Cache) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    names = (
        "free group4 dense_residual dense_pool depthwise_3x3s2 pointwise_group4 gemm_sparse maxpool3s2 tanh"
    )
    cases = [case for family in FAMILIES.values() for case in family if case.name in names.split()]
    assert len(cases) == len(names.split())
    view = network(cases, probe=True)
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, host_targets()[0], session_cache, feeds, cc="gcc"))


@pytest.mark.parametrize("name", targets.names())
def test_no_micro_kernel_is_without_a_case(name: str) -> None:
    """Every kind, and every switch of a kind in both positions, occurs in the registry."""
    kernels = [
        step.kernel
        for family in FAMILIES.values()
        for step in lower(network(family, probe=True), targets.get(name)).steps
    ]
    elsewhere = set() if targets.get(name).lanes_f32 == k.INTERLEAVED else {k.InterleaveKernel}
    assert {type(kernel) for kernel in kernels} == set(k.Kernel.__args__) - elsewhere
    for kind in k.Kernel.__args__:
        made = [kernel for kernel in kernels if type(kernel) is kind]
        for switch in (f.name for f in fields(kind) if f.type == "bool"):
            assert {getattr(kernel, switch) for kernel in made} == {False, True}, f"{kind.__name__}.{switch}"
    convs = [kernel for kernel in kernels if isinstance(kernel, k.ConvKernel)]
    assert {c.residual is None for c in convs} == {False, True}
    assert {c.passes > 1 for c in convs} == {False, True}
    assert {(c.block > 0, c.copies > 1) for c in convs} == {
        (b, c) for b in (False, True) for c in (False, True)
    }
    assert {min(c.group, 4) for c in convs} >= {1, 2, 4}
    assert max(len(c.patterns) for c in convs) == 56
    assert {c.activation.kind for c in convs} == {"none", "relu", "clip", "tanh", "sigmoid"}
    assert {g.index_bits for g in kernels if isinstance(g, k.GemmKernel)} == {16, 32}
    pools = [kernel for kernel in kernels if isinstance(kernel, k.PoolKernel | k.PoolTableKernel)]
    assert {(type(p), p.kind) for p in pools} == {
        (t, kind) for t in (k.PoolKernel, k.PoolTableKernel) for kind in ("max", "average")
    }
    assert {e.op for e in kernels if isinstance(e, k.ElementwiseKernel)} == {
        "add",
        "sub",
        "mul",
        "affine",
        "copy",
    }


def test_names_are_unique() -> None:
    names = [case.name for family in FAMILIES.values() for case in family]
    assert len(set(names)) == len(names)
