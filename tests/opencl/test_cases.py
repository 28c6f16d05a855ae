"""Every kind of kernel computes on an OpenCL device what the reference does."""

from dataclasses import fields

import numpy as np
import pytest

from codegen.harness import random_feeds
from graph.reference import execute
from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.graph import GraphView
from pconv.lower import kernels as k
from pconv.lower import lower
from pconv.lower.plan import Plan
from pconv.runtime.opencl import OpenclEngine

from .conftest import Open

pytestmark = pytest.mark.opencl

TOLERANCE = {"opencl": 1e-5, "opencl-fp16": 2e-2}
# One of each kind in half storage; the whole registry in half storage is slow to compile.
HALF = (  # noqa: SIM905
    "free group4_s2 dense_pool dense_residual kernels_7x7s2 pointwise_group4 depthwise_3x3s2 gemm_sparse gemm_odd "
    "maxpool3s2_pads avgpool3s2_exclude global_average flatten dcr concat softmax add tanh affine gate linear silu "
    "gelu gelutanh quickgelu prelu constant argmax keep above round"
).split()


def run(view: GraphView, engine: OpenclEngine, tolerance: float) -> None:
    """Run on NaN, so that whatever is read unwritten shows, then on numbers; compare."""
    feeds = random_feeds(view)
    engine(*(np.full_like(feeds[name], np.nan) for name in view.inputs))
    results = engine(*(feeds[name] for name in view.inputs))
    results = results if isinstance(results, tuple) else (results,)
    wanted = execute(view, feeds)
    wrong = []
    for name, got in zip(view.outputs, results, strict=True):
        error = float(np.abs(got - wanted[name]).max() / max(np.abs(wanted[name]).max(), 1e-6))
        if not error <= tolerance:
            wrong.append(f"{name} {list(got.shape)}: {error:.1e}")
    assert not wrong, f"{len(wrong)} of {len(view.outputs)} outputs are wrong: {'; '.join(wrong)}"


# Layers of real sizes take PoCL seconds, and show no kind of kernel that the small ones do not.
SLOW = [pytest.param(f, marks=pytest.mark.slow) if f == "layers" else f for f in FAMILIES]


@pytest.mark.parametrize("family", SLOW)
def test_float(family: str, open_graph: Open) -> None:
    view = network(FAMILIES[family], probe=True)
    run(view, open_graph(view, targets.get("opencl")), TOLERANCE["opencl"])


def test_half_storage(open_graph: Open) -> None:
    cases = [case for family in FAMILIES.values() for case in family if case.name in HALF]
    assert len(cases) == len(HALF)
    view = network(cases, probe=True)
    run(view, open_graph(view, targets.get("opencl-fp16")), TOLERANCE["opencl-fp16"])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_half_storage_everywhere(family: str, open_graph: Open) -> None:
    view = network(FAMILIES[family], probe=True)
    run(view, open_graph(view, targets.get("opencl-fp16")), TOLERANCE["opencl-fp16"])


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    """Lower the whole registry."""
    return [lower(network(family, probe=True), targets.get("opencl")) for family in FAMILIES.values()]


def test_every_kind_and_switch_occurs(plans: list[Plan]) -> None:
    kernels = [step.kernel for plan in plans for step in plan.steps]
    cpus_alone = {
        k.InterleaveKernel,
        k.WinogradInputKernel,
        k.WinogradListsKernel,
        k.WinogradOutputKernel,
        k.WinogradWeightsKernel,
    }
    assert {type(kernel) for kernel in kernels} == set(k.Kernel.__args__) - cpus_alone
    for kind, names in (
        (k.ConvKernel, ("uniform", "pool")),
        (k.GemmKernel, ("sparse",)),
        (k.GatherKernel, ("plain",)),
    ):
        assert set(names) <= {f.name for f in fields(kind)}
        for name in names:
            assert {getattr(made, name) for made in kernels if type(made) is kind} == {False, True}, name
    convs = [kernel for kernel in kernels if isinstance(kernel, k.ConvKernel)]
    assert {conv.residual is None for conv in convs} == {False, True}
    assert {conv.passes > 1 for conv in convs} == {False, True}
    assert {conv.group for conv in convs} >= {1, 2, 4, 8}
    assert {conv.activation.kind for conv in convs} >= {"none", "relu", "clip", "tanh", "silu", "gelu", "elu"}


def test_blocks_are_images(plans: list[Plan]) -> None:
    """The kernels rely on it: what lies beyond the image is halo."""
    for plan in plans:
        for step in plan.steps:
            for tensor in (*step.inputs, step.output):
                layout = tensor.layout
                assert layout.lanes == 1
                assert (layout.block_h, layout.block_w) == (layout.height, layout.width), (
                    step.name,
                    tensor.name,
                )
