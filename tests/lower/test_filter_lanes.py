"""With filters in the lanes every output is summed once, and layers run so where lanes would lie idle otherwise."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv import targets
from pconv.bench.case import DENSE, Case, NetworkBuilder, Sparsity, network
from pconv.bench.registry import conv
from pconv.codegen.manifest import manifest
from pconv.lower import lower
from pconv.lower.cost import registers_needed
from pconv.lower.describe import describe_step
from pconv.lower.filter_lanes import CHUNK, able, candidates, lanes_of, outputs_of, pieces, terms
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import Layout, natural
from pconv.targets.dtype import FP16_FP32ACC

from .test_loads import KERNEL

V4, ZNVER4 = targets.get("x86-64-v4"), targets.get("x86-64-v4", cpu="znver4")
LAYER = replace(KERNEL, source=natural(7, 7, 16).with_halo(1, 1, 1, 1), output=natural(7, 7, 16))


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([V4, ZNVER4]))
def test_each_output_once(height: int, width: int, target: targets.Target) -> None:
    layer = replace(LAYER, output=natural(height, width, target.lanes))
    block = layer.output
    for y in range(block.block_h):
        assert outputs_of(layer, y, 1) == sum(lanes_of(layer, y, x).count(True) for x in range(block.block_w))
        assert all(lanes_of(layer, y, x)[0] for x in range(block.block_w))
    found = list(candidates(layer, target)) if able(layer, target) else []
    assert bool(found) == (block.block_w <= CHUNK)
    for kernel in found:
        assert sum(size * count for size, count in pieces(kernel).items()) == height * width
        assert kernel.group % target.lanes == 0 and max(pieces(kernel)) <= kernel.positions
        assert registers_needed(kernel, target) <= target.vector_registers


def test_where_lanes_may_be_filters() -> None:
    assert able(LAYER, V4)
    assert not able(replace(LAYER, pool=True), V4)
    assert not able(replace(LAYER, points=36), V4)
    assert not able(replace(LAYER, output=natural(16, 1600, 16)), V4)
    assert not able(replace(LAYER, output=Layout(1, 128, 1, 16, 3, 8)), V4)
    assert not able(replace(LAYER, output=Layout(3, 2, 4, 4, 1, 4)), V4)
    assert not able(LAYER, replace(V4, dtype=FP16_FP32ACC))
    assert not able(LAYER, targets.get("x86-64-v3"))
    assert not able(LAYER, targets.get("aarch64"))


def test_blocks_of_a_reader_may_reach_below_the_image() -> None:
    builder = NetworkBuilder()
    x = builder.input("x", (1, 8, 1, 128))
    y = builder.layer(conv("wide", 8, 16, (1, 128), 1), [builder.layer(Case("before", "Activation"), [x])])
    reader = conv("reader", 16, 16, (1, 128), (3, 1), stride=(3, 1), pads=(1, 0, 1, 0))
    builder.outputs.append(builder.layer(reader, [y]))
    wide = next(step for step in lower(builder.graph("wide"), ZNVER4).steps if step.name == "wide")
    assert wide.output.layout.block_h > wide.output.layout.height
    assert isinstance(wide.kernel, ConvKernel) and not wide.kernel.positions


def test_weights_from_far_cost_more() -> None:
    kernel = next(candidates(LAYER, ZNVER4))
    near, far = (terms(kernel, ZNVER4, 64.0, bytes_) for bytes_ in (1e3, 1e9))
    assert far["weights"] > near["weights"]
    assert far["multiply-adds"] == near["multiply-adds"] > 0


@pytest.mark.parametrize(
    ("filters", "image", "size", "sparsity", "in_lanes"),
    [
        (160, 7, 1, DENSE, True),
        (160, 17, 1, DENSE, True),
        (160, 28, 1, DENSE, False),  # every lane has an output anyway
        (8, 7, 1, DENSE, False),  # half of the lanes would have no filter
        (160, 7, 1, Sparsity(4.0), False),
        (160, 7, 1, Sparsity(4.0, None, 4), False),
        (160, 7, 1, Sparsity(4.0, None, 16), True),
        (160, 7, 3, Sparsity(3.56, "scp8", 16), True),
    ],
)
def test_small_images_take_filters(
    filters: int, image: int, size: int, sparsity: Sparsity, in_lanes: bool
) -> None:
    case = conv("layer", 1024, filters, (image, image), size, sparsity=sparsity)
    kernel = next(s.kernel for s in lower(network([case]), ZNVER4).steps if s.name == "layer")
    assert isinstance(kernel, ConvKernel)
    assert (kernel.positions > 0) == in_lanes


def test_a_plan_says_so() -> None:
    plan = lower(network([conv("layer", 1024, 40, (7, 7), 1)]), ZNVER4)
    step = next(step for step in plan.steps if step.name == "layer")
    assert isinstance(step.kernel, ConvKernel) and step.kernel.positions
    groups = f"{step.params['groups']} groups of {step.kernel.group} filters"
    said = describe_step(step)
    assert groups in said
    assert f"{step.kernel.group} filters for up to {step.kernel.positions} outputs at a time" in said
    (layer,) = (layer for layer in manifest(plan, 0)["layers"] if layer["name"] == "layer")
    assert layer["idle_lanes"] == round(1 - 40 / 48, 4)
