"""A layer runs the way that is modelled fastest, and says why."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv import targets
from pconv.bench.case import Sparsity
from pconv.lower.choice import Choice, ranked_choices, reason
from pconv.lower.kernels import ConvKernel
from pconv.lower.reorder import all_taps
from pconv.targets import Target

from .test_loads import KERNEL
from .weights import pruned_weights

TARGETS = [targets.get(name) for name in targets.names()]
V4 = targets.get("x86-64-v4")


def bare(weight: np.ndarray) -> ConvKernel:
    return replace(KERNEL, size=(weight.shape[2], weight.shape[3]), patterns=(((0, 0),),))


def run(weight: np.ndarray, groups: int = 1, target: Target = V4, dense: bool = False) -> tuple[Choice, str]:
    choices = ranked_choices(bare(weight), weight, groups, target, dense)
    return choices[0], reason(choices[0], choices, weight, dense, "")


@given(pruned_weights(), st.sampled_from(TARGETS))
def test_never_slower_than_dense(drawn: tuple[np.ndarray, int], target: Target) -> None:
    weight, groups = drawn
    best, why = run(weight, groups, target)
    dense, forced = run(weight, groups, target, dense=True)
    assert best.schedule.cycles <= dense.schedule.cycles
    assert why.startswith(f"{best.kind}: ")
    zeros = 1 - np.count_nonzero(weight) / weight.size
    assert dense.kind in ("dense", "dense Winograd")
    lead = f"asked for, though {zeros:.0%} of the weights are zero" if zeros else "no zeros"
    assert forced.startswith(f"{dense.kind}: {lead}")
    if not best.kind.startswith("dense"):
        assert best.shapes.kernels * best.shapes.taps < dense.shapes.kernels * dense.shapes.taps
    if " modelled " in why:
        assert float(why.partition(" modelled ")[2].partition("x ")[0]) >= 1.0


@pytest.mark.parametrize(
    ("sparsity", "size", "start"),
    [
        (Sparsity(), 1, "dense: no zeros"),
        (Sparsity(), 3, "dense Winograd: no zeros, modelled "),
        (Sparsity(3.56, "scp8"), 3, "pattern-sparse: 88% zeros, modelled "),
        (Sparsity(3.56, "scp8", 4), 3, "pattern-sparse: 88% zeros, modelled "),
        (Sparsity(4.0), 3, "kernel-sparse: 75% zeros, modelled "),
        (Sparsity(8.0), 1, "sparse: 88% zeros, modelled "),
    ],
)
def test_reasons(sparsity: Sparsity, size: int, start: str) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64, size, size), np.float32)
    weight *= sparsity.mask(weight)
    choice, why = run(weight)
    assert why.startswith(start)
    assert choice.kind == start.partition(":")[0]


def test_zeros_in_too_many_shapes_stay_dense() -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((32, 32, 25), np.float32)
    weight[random.permuted(np.indices(weight.shape)[2], axis=-1) < 5] = 0
    choice, why = run(weight.reshape(32, 32, 5, 5))
    assert choice.kind == "dense"
    assert why == "dense: 20% zeros, but in too many shapes for patterns and in every kernel"


def test_few_zeros_stay_dense() -> None:
    weight = np.ones((16, 16, 5, 5), np.float32)
    weight[0, 0] = 0
    weight[3, 5, 1] = 0
    choice, why = run(weight)
    assert choice.kind == "dense" and why.startswith("dense: 0% zeros, modelled ")
    assert choice.shapes.patterns == (all_taps(5, 5),)


def test_a_removed_layer_costs_nothing_but_its_bias() -> None:
    choice, why = run(np.zeros((8, 8, 3, 3), np.float32))
    assert choice.kind == "kernel-sparse" and choice.shapes.kernels == 0
    assert why.startswith("kernel-sparse: 100% zeros")


def test_filters_that_share_their_kernels_run_together() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64, 3, 3), np.float32)
    weight *= Sparsity(3.56, "scp8", 4).mask(weight)
    choice, _ = run(weight)
    assert {m.size % 4 for m in choice.members} == {0}
    assert choice.schedule.kernel.group in (2, 4)
