"""A network becomes steps: layouts that agree need no copies, every value is there before it is read."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
import pytest

from graph.models import make, node, normalise, rand
from pconv import targets
from pconv.bench.case import Case, network
from pconv.bench.registry import FAMILIES
from pconv.errors import UnsupportedError
from pconv.lower import lower
from pconv.lower.kernels import ConvKernel, PoolKernel, PoolTableKernel
from pconv.lower.plan import Plan, Step

V4 = targets.get("x86-64-v4")
SAME = {"pads": [1, 1, 1, 1]}


def conv(name: str, x: str, y: str, **attrs: object) -> onnx.NodeProto:
    return node("Conv", f"{x} {name}.w", y, name, **attrs)


def plan_of(
    nodes: list[onnx.NodeProto],
    outputs: str,
    *,
    channels: int = 8,
    image: tuple[int, int] = (32, 32),
    sizes: dict[str, int] | None = None,
) -> Plan:
    """Lower a network of convolutions of one width; `sizes` are their kernels', 3 where nothing is said."""
    names = [n.name for n in nodes if n.op_type == "Conv"]
    kernels = {name: (sizes or {}).get(name, 3) for name in names}
    weights = {f"{name}.w": rand(channels, channels, k, k) for name, k in kernels.items()}
    return lower(normalise(make(nodes, {"x": [1, channels, *image]}, outputs.split(), weights)), V4)


def ops(plan: Plan) -> list[str]:
    return [step.op for step in plan.steps]


def step(plan: Plan, name: str) -> Step:
    return next(s for s in plan.steps if s.name == name)


def test_a_chain_is_copied_only_at_its_ends() -> None:
    plan = plan_of(
        [conv("a", "x", "u", **SAME), conv("b", "u", "v", **SAME), conv("c", "v", "y", **SAME)], "y"
    )
    assert ops(plan) == ["Relayout", "Conv", "Conv", "Conv", "Relayout"]
    assert [t.name for t in (*plan.inputs, *plan.outputs)] == ["x", "y:output0"]
    assert plan.inputs[0].space == "input" and plan.outputs[0].space == "output"
    halos = [(s.output.layout.top, s.output.layout.right) for s in plan.steps]
    assert halos == [(1, 1), (1, 1), (1, 1), (0, 0), (0, 0)]


def test_the_widest_halo_wins() -> None:
    nodes = [
        conv("a", "x", "u", **SAME),
        conv("b", "u", "v", pads=[2, 2, 2, 2]),
        conv("c", "u", "w", **SAME),
        node("Add", "v w", "y"),
    ]
    plan = plan_of(nodes, "y v", sizes={"b": 5})
    layout = step(plan, "a").output.layout
    assert (layout.top, layout.left, layout.bottom, layout.right) == (2, 2, 2, 2)
    assert step(plan, "c").kernel.residual is not None
    assert ops(plan) == ["Relayout", "Conv", "Conv", "Conv", "Relayout", "Relayout"]


def test_two_geometries_need_one_copy() -> None:
    """From 31 columns every third: blocks that start elsewhere than those of the value itself."""
    nodes = [
        conv("a", "x", "u", **SAME),
        conv("b", "u", "v", strides=[3, 3]),
        conv("c", "u", "w", strides=[3, 3]),
        conv("d", "u", "z", **SAME),
        node("Add", "v w", "y"),
    ]
    plan = plan_of(nodes, "y z v", image=(31, 31))
    assert ops(plan)[:5] == ["Relayout", "Conv", "Relayout", "Conv", "Conv"]
    copy = plan.steps[2]
    assert copy.name == "u:relayout" and copy.output.name.startswith("u@")
    assert step(plan, "b").inputs[0] is not step(plan, "a").output
    assert step(plan, "b").inputs[0] == step(plan, "c").inputs[0] == copy.output


def test_a_convolution_never_writes_dense_memory() -> None:
    """Of an image of one pixel that only rows are made of, dense memory would be the smallest."""
    plan = plan_of(
        [conv("a", "x", "u"), node("Softmax", "u", "y", axis=1)], "y", image=(1, 1), sizes={"a": 1}
    )
    assert not step(plan, "a").output.layout.planar and ops(plan)[-2:] == ["Relayout", "Softmax"]


def test_a_geometry_that_all_readers_want_is_written_at_once() -> None:
    nodes = [conv("a", "x", "u", **SAME), conv("b", "u", "y", strides=[3, 3])]
    plan = plan_of(nodes, "y", image=(31, 31))
    assert ops(plan) == ["Relayout", "Conv", "Conv", "Relayout"]
    assert step(plan, "b").inputs[0] == step(plan, "a").output


def test_a_copy_is_made_where_the_planes_are_fewest() -> None:
    """Two wide values want another geometry than the narrow one before them: it is the narrow one that is copied."""
    nodes = [
        conv("a", "x", "u", **SAME),
        node("Conv", "u wide.w", "v", "wide"),
        node("Conv", "v deep.w", "w", "deep", strides=[2, 2], group=96, **SAME),
        node("Add", "u u", "z"),
    ]
    weights = {"a.w": rand(8, 8, 3, 3), "wide.w": rand(96, 8, 1, 1), "deep.w": rand(96, 1, 3, 3)}
    plan = lower(normalise(make(nodes, {"x": [1, 8, 28, 28]}, ["w", "z"], weights)), V4)
    assert [s.name for s in plan.steps if s.op == "Relayout" and s.name.startswith(("u", "v"))] == [
        "u:relayout"
    ]


def test_a_stride_of_two_needs_no_copy() -> None:
    plan = plan_of([conv("a", "x", "u", **SAME), conv("b", "u", "y", strides=[2, 2], **SAME)], "y")
    assert ops(plan) == ["Relayout", "Conv", "Conv", "Relayout"]


def test_a_value_that_is_read_and_returned() -> None:
    plan = plan_of([conv("a", "x", "u", **SAME), conv("b", "u", "y", **SAME)], "u y")
    assert ops(plan) == ["Relayout", "Conv", "Conv", "Relayout", "Relayout"]
    assert [t.offset for t in plan.outputs] == [0, 1]
    assert plan.steps[-2].inputs[0].name == "u" and plan.steps[-2].output == plan.outputs[0]


def test_an_input_that_is_returned() -> None:
    view = network([Case("pad", "Pad", 3, (7, 5), attrs={"pads": (1, 1, 1, 1)})])
    plan = lower(replace(view, outputs=("pad.x0", "pad", "pad")), V4)
    copy, again, last = plan.steps[-3:]
    assert (copy.op, copy.inputs[0].space, copy.output) == ("Copy", "input", plan.outputs[0])
    assert (again.output, last.output) == plan.outputs[1:]


def test_a_dense_last_result_goes_straight_to_the_caller() -> None:
    weights = {"w": rand(10, 30), "b": rand(10)}
    model = make([node("Gemm", "x w b", "y", "fc", transB=1)], {"x": [1, 30]}, ["y"], weights)
    plan = lower(normalise(model), V4)
    (only,) = plan.steps
    assert only.inputs[0].space == "input" and only.output.space == "output" and plan.arena_bytes == 0


@pytest.mark.parametrize(
    ("image", "fused"), [((32, 32), True), ((16, 48), True), ((28, 28), True), ((6, 6), False)]
)
def test_pooling_is_fused_where_the_blocks_fit(image: tuple[int, int], fused: bool) -> None:
    nodes = [conv("a", "x", "u"), node("MaxPool", "u", "y", kernel_shape=[2, 2], strides=[2, 2])]
    plan = plan_of(nodes, "y", image=image, sizes={"a": 1})
    kernel = step(plan, "a").kernel
    assert isinstance(kernel, ConvKernel) and kernel.pool == fused
    assert ("a:pool" in [s.name for s in plan.steps]) != fused


@pytest.mark.parametrize(
    ("before", "kind"), [("Relu", PoolKernel), ("Sigmoid", PoolKernel), ("Tanh", PoolTableKernel)]
)
def test_padded_max_pooling_of_negative_values_never_sees_the_zeros(before: str, kind: type) -> None:
    nodes = [
        node(before, "x", "u"),
        node("MaxPool", "u", "y", "pool", kernel_shape=[3, 3], strides=[2, 2], **SAME),
    ]
    assert isinstance(step(plan_of(nodes, "y"), "pool").kernel, kind)


def all_plans() -> Iterator[Plan]:
    for name in targets.names():
        for cases in FAMILIES.values():
            yield lower(network(cases, probe=True), targets.get(name))


def test_every_value_is_written_before_it_is_read() -> None:
    for plan in all_plans():
        written = {t.name for t in plan.inputs}
        for s in plan.all_steps:
            assert {t.name for t in s.inputs} <= written, s.name
            assert s.output.space != "input"
            assert s.output.name not in {t.name for t in s.inputs}
            written.add(s.output.name)
        assert {t.name for t in plan.outputs} <= written


def test_every_step_says_what_it_does() -> None:
    for plan in all_plans():
        for s in plan.steps:
            assert s.tasks >= 1 and s.params.get("grain", 1) >= 1
            assert s.kernel.name.startswith("f32_") and s.kernel.name.replace("_", "").isalnum()
            work = s.work
            assert (work.dense_macs > 0) == (s.op in ("Conv", "Gemm", "MatMul")) == bool(work.reason)
            assert work.reason == "" or work.reason.partition(":")[0].removesuffix(" Winograd").endswith(
                ("dense", "sparse")
            )
            if s.op == "Conv" and s.kernel.points == 1:
                assert s.params["planes"] == work.out_shape[0] == s.output.channels
                assert work.weights_bytes == s.data["weight"].nbytes + s.data["bias"].nbytes
                assert work.dense_macs >= work.macs or "dense" not in work.reason


def test_threads_share_what_takes_long_and_only_that() -> None:
    large, small = (
        step(plan_of([conv("a", "x", "y", **SAME)], "y", channels=channels, image=(7, 7)), "a")
        for channels in (256, 16)
    )
    assert -(-large.tasks // large.params["grain"]) >= 4
    assert small.tasks <= small.params["grain"]


def test_executed_work_of_a_sparse_layer() -> None:
    case = next(c for c in FAMILIES["layers"] if c.name == "layer_group4")
    work = step(lower(network([case]), V4), case.name).work
    assert work.dense_macs == 64 * 64 * 9 * 56 * 56
    assert work.macs == 64 * 18 * 4 * 56 * 56  # 18 of 64 kernels, 4 of 9 weights
    assert work.index_bytes < work.weights_bytes / 4


@pytest.mark.parametrize("target", targets.names())
def test_a_layer_of_zeros_on_an_input_beyond_l2(target: str) -> None:
    """As a residual block's last layer may begin; it has nothing to fetch, and no parts to do it in."""
    nodes = [node("Conv", "x w", "y", "zeros", pads=[1, 1, 1, 1])]
    view = normalise(make(nodes, {"x": [1, 64, 64, 96]}, ["y"], {"w": np.zeros((4, 64, 3, 3), np.float32)}))
    assert step(lower(view, targets.get(target)), "zeros").work.macs == 0


def test_layers_asked_to_be_dense() -> None:
    cases = [next(c for c in f if c.name == n) for f, n in ((FAMILIES["layers"], "layer_group4"),)]
    cases += [c for c in FAMILIES["rows"] if c.name == "gemm_sparse"]
    free = lower(network(cases), V4)
    dense = lower(network(cases), V4, frozenset(c.name for c in cases))
    for case in cases:
        assert "sparse" in step(free, case.name).work.reason
        assert step(dense, case.name).work.reason.partition(":")[0] in ("dense", "dense Winograd")
        assert ": asked for" in step(dense, case.name).work.reason
        assert step(dense, case.name).work.weights_bytes > 2 * step(free, case.name).work.weights_bytes


def test_the_parts_of_a_layer_asked_to_be_dense() -> None:
    """Most of what this dilated layer reads is padding: it becomes nine layers of one tap."""
    weight = rand(16, 16, 3, 3)
    weight[:, ::2] = 0
    around = {"pads": [24] * 4, "dilations": [24, 24]}
    view = normalise(
        make([conv("aspp", "x", "y", **around)], {"x": [1, 16, 33, 33]}, ["y"], {"aspp.w": weight})
    )
    steps = [one for one in lower(view, V4, frozenset({"aspp"})).steps if one.op == "Conv"]
    assert len(steps) == 9
    assert {one.work.macs for one in steps} == {one.work.dense_macs for one in steps}


def test_progress_names_every_layer() -> None:
    seen: list[tuple[str, int, int]] = []
    view = network(FAMILIES["rows"])
    lower(view, V4, progress=lambda *said: seen.append(said))
    assert seen == [(n.name, i, len(view.nodes)) for i, n in enumerate(view.nodes)]


def test_too_many_filters_or_channels() -> None:
    for channels, filters in ((1, 65_535), (65_535, 1)):
        case = Case("huge", "Conv", channels, (1, 1), filters, (1, 1))
        with pytest.raises(UnsupportedError) as caught:
            lower(network([case]), V4)
        assert str(caught.value) == (
            f"huge (Conv): {filters} filters on {channels} channels are unsupported; allowed up to 65534 of "
            "each. Split the layer."
        )


def test_depthwise_stores_its_own_channels_only() -> None:
    """Every filter keeps one kernel; a filler may double a group."""
    plan = lower(network(FAMILIES["depthwise"]), V4)
    for s in plan.steps:
        if s.op == "Conv":
            assert s.data["weight"].size <= 2 * np.prod(s.work.kernel) * s.work.out_shape[0]


@pytest.mark.parametrize("output, step", [("y", r"y:output \(Relayout\)"), ("z", r"turn \(Transpose\)")])
def test_an_image_too_large_for_a_table_of_places_is_refused(output: str, step: str) -> None:
    """Of a Transpose, the offsets of channels are in the table of pixels."""
    nodes = [node("Conv", "x w", "y", "wide"), node("Transpose", "y", "z", "turn", perm=[0, 2, 3, 1])]
    nodes = nodes if output == "z" else nodes[:1]
    view = normalise(make(nodes, {"x": [1, 1, 2100, 2100]}, [output], {"w": rand(600, 1, 1, 1)}))
    with pytest.raises(UnsupportedError, match=f"{step}: reads 600 planes of 2100x2100; allowed are"):
        lower(view, V4)


def test_dense_values_change_their_shape_without_a_copy_and_add_up_dense() -> None:
    nodes = [
        *(node("MatMul", "x x", "m"), node("Reshape", "m rows", "r"), node("Softmax", "r", "s")),
        *(node("Reshape", "s image", "i"), node("Add", "i w", "y")),
    ]
    weights = {"rows": np.array([1, 20, 9]), "image": np.array([1, 5, 6, 6]), "w": rand(1, 5, 6, 6)}
    plan = lower(normalise(make(nodes, {"x": [1, 5, 6, 6]}, ["y"], weights)), V4)
    assert ops(plan) == ["MatMul", "Softmax", "Add"]
    assert [step.op for step in plan.preparation] == ["Constant"]
    assert all(t.layout.planar for s in plan.all_steps for t in (*s.inputs, s.output))
