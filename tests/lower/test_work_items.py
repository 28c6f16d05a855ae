"""What a work item of a GPU computes, and the planes it reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv import targets
from pconv.bench.case import NetworkBuilder, Sparsity, network
from pconv.bench.registry import FAMILIES, conv
from pconv.lower import Plan, lower
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.work_items import MAX_ACCUMULATORS, WORK_GROUPS

OPENCL = targets.get("opencl")
HALO = st.integers(0, 4)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(-3, 3), st.integers(-3, 3), HALO, HALO, HALO, HALO)
def test_settled_planes_hold_the_same(
    height: int, width: int, more_h: int, more_w: int, top: int, left: int, bottom: int, right: int
) -> None:
    """Whatever the block was called, each image element that the plane had is there, and all others are zero."""
    block = (max(1, height + more_h), max(1, width + more_w))
    before = Layout(height, width, 1, 1, *block, top, left, bottom, right)
    after = before.settled()
    assert (after.block_h, after.block_w) == (height, width)
    assert (after.top, after.left) == (top, left)
    reach = [(b.top + b.block_h + b.bottom, b.left + b.block_w + b.right) for b in (before, after)]
    tables = [b.source_table().reshape(r) for b, r in zip((before, after), reach, strict=True)]
    rows, cols = min(r[0] for r in reach), min(r[1] for r in reach)
    np.testing.assert_array_equal(tables[0][:rows, :cols], tables[1][:rows, :cols])
    assert after.settled() == after


def test_blocks_layouts_stay() -> None:
    layout = Layout(8, 8, 2, 2, 5, 5, 1, 1, 1, 1)
    assert layout.settled() is layout


def test_an_input_that_needs_a_halo_is_copied_into_one() -> None:
    builder = NetworkBuilder()
    x = builder.input("x", (1, 3, 9, 7))
    first = builder.layer(conv("first", 3, 4, (9, 7)), [x])
    builder.outputs.append(builder.layer(conv("second", 4, 4, (9, 7)), [first]))
    plan = lower(builder.graph("halo"), OPENCL)
    assert [step.op for step in plan.steps] == ["Relayout", "Conv", "Conv"]
    assert plan.inputs[0].layout == planar(9, 7)
    assert plan.steps[1].inputs[0].layout == Layout(9, 7, 1, 1, 9, 7, 1, 1, 1, 1)
    assert plan.steps[1].output.layout == Layout(9, 7, 1, 1, 9, 7, 1, 1, 1, 1)
    assert plan.steps[2].output == plan.outputs[0]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Lower layers of real sizes."""
    return lower(network(FAMILIES["layers"]), OPENCL)


def test_tiles_fit_registers_and_the_image(plan: Plan) -> None:
    kernels = [step.kernel for step in plan.steps if isinstance(step.kernel, ConvKernel)]
    assert kernels
    for kernel in kernels:
        (rows, cols), out = kernel.tile, kernel.computed
        assert kernel.group * rows * cols <= MAX_ACCUMULATORS
        assert rows <= out.block_h and cols <= out.block_w
        assert not kernel.pool or rows % 2 == cols % 2 == 0
        assert kernel.work_group == WORK_GROUPS[0]
        assert (kernel.copies, kernel.block) == (1, 0)


def test_sparse_layers_run_sparse_and_every_work_group_is_offered() -> None:
    seen: list[str] = []

    def pick(key: str, choices):  # type: ignore[no-untyped-def]
        seen.extend(choice.name for choice in choices)
        return choices[0], ""

    case = conv("sparse", 32, 32, (28, 28), sparsity=Sparsity(3.56, "scp8", 4))
    step = next(s for s in lower(network([case]), OPENCL, pick=pick).steps if s.op == "Conv")
    assert step.work.reason.startswith("pattern-sparse")
    assert step.work.group == 4
    assert all(any(name.endswith(f"work group {size}") for name in seen) for size in WORK_GROUPS)
