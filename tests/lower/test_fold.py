"""Which layers run several images side by side, and in which order steps run then."""

from dataclasses import replace

import pytest

from pconv import targets
from pconv.bench.case import Case, NetworkBuilder
from pconv.bench.registry import conv
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.lower.describe import describe_step
from pconv.lower.fold import MOST_VECTORS, fold

TARGET = targets.get("aarch64")
SMALL = (8, 8)
LARGE = (16, 16)


def grown(*cases: Case, image: tuple[int, int] = LARGE) -> NetworkBuilder:
    """Put cases one behind the other, the first on an image of 3 channels."""
    builder = NetworkBuilder()
    value = builder.input("x", (1, 3, *image))
    for case in cases:
        value = builder.layer(case, [value])
    builder.outputs.append(value)
    return builder


def classifier() -> GraphView:
    return grown(
        conv("early", 3, 4, LARGE),
        conv("shrink", 4, 4, LARGE, stride=2),
        conv("late", 4, 4, SMALL),
        Case("mean", "GlobalAveragePool"),
        Case("flat", "Flatten"),
    ).graph("classifier")


def test_large_images_run_alone_small_ones_side_by_side() -> None:
    assert SMALL[0] * SMALL[1] <= MOST_VECTORS * TARGET.lanes < LARGE[0] * LARGE[1]
    found = fold(classifier(), 4, TARGET)
    assert (found.images, found.values) == (4, {"late", "mean"})
    assert [found.of(value) for value in ("early", "late", "flat")] == [1, 4, 1]


def test_one_image_is_never_folded() -> None:
    assert fold(classifier(), 1, TARGET).values == set()


def test_nothing_is_folded_where_an_output_has_no_batch() -> None:
    graph = classifier()
    shapes = {**graph.shapes, graph.outputs[0]: (4, 1)}
    assert fold(replace(graph, shapes=shapes), 4, TARGET).images == 1


def test_steps_before_folded_and_behind() -> None:
    plan = lower(classifier(), TARGET, images=4)
    parts = [(step.name, step.part) for step in plan.steps if step.name.partition(":")[0] != "x"]
    assert parts == [
        ("early", "before"),
        ("shrink", "before"),
        ("shrink:relayout", "before"),
        ("late", "folded"),
        ("mean", "folded"),
        ("mean:relayout", "behind"),
        ("flat", "behind"),
    ]
    assert plan.images == 4 and [plan.count("folded"), plan.count("behind")] == [2, 2]
    late = next(step for step in plan.steps if step.name == "late")
    assert late.output.layout.images == 4 and late.output.layout.image_lanes == 1
    assert late.work.reason.endswith("; 4 images side by side")
    assert " 4 images of 8x8 as 1x1 blocks of 8x8, " in describe_step(late)


def test_what_images_share_keeps_its_place_while_they_come_and_go() -> None:
    """Between the images' turns, steps before and behind write over whatever is theirs alone."""
    plan = lower(classifier(), TARGET, images=4)
    places = {
        tensor.name: (tensor.offset, tensor.offset + tensor.nbytes, tensor.layout.images)
        for step in plan.steps
        for tensor in (*step.inputs, step.output)
        if tensor.space == "arena"
    }
    brought = next(step.output.name for step in plan.steps if step.name == "shrink:relayout")
    taken = next(step.inputs[0].name for step in plan.steps if step.name == "mean:relayout")
    for shared, part in ((brought, "before"), (taken, "behind")):
        begin, end, _ = places[shared]
        alone = {
            tensor.name
            for step in plan.steps
            if step.part == part
            for tensor in (*step.inputs, step.output)
            if tensor.space == "arena" and tensor.name != shared
        }
        assert alone
        assert all(places[name][1] <= begin or end <= places[name][0] for name in alone)


def test_nothing_is_folded_where_a_layer_behind_needs_an_early_value() -> None:
    builder = grown(
        conv("early", 3, 4, LARGE), conv("shrink", 4, 4, LARGE, stride=2), conv("late", 4, 4, SMALL)
    )
    large = builder.layer(Case("up", "Resize", 4, SMALL, 2), ["late"])
    builder.outputs = [builder.layer(Case("both", "Concat"), [large, "early"])]
    assert fold(builder.graph("unet"), 4, TARGET).images == 1


def test_the_gates_of_large_images_are_left_out() -> None:
    builder = grown(
        conv("early", 3, 4, LARGE), Case("mean", "GlobalAveragePool"), conv("gate", 4, 4, (1, 1), 1)
    )
    builder.layer(Case("product", "Mul"), ["early", "gate"])
    small = builder.layer(conv("shrink", 4, 4, LARGE, stride=2), ["product"])
    builder.layer(conv("late", 4, 4, SMALL), [small])
    builder.layer(Case("late.mean", "GlobalAveragePool"), ["late"])
    builder.layer(conv("late.gate", 4, 4, (1, 1), 1), ["late.mean"])
    builder.outputs = [builder.layer(Case("late.product", "Mul"), ["late", "late.gate"])]
    wanted = {"late", "late.mean", "late.gate", "late.product"}
    assert fold(builder.graph("gated"), 4, TARGET).values == wanted


@pytest.mark.parametrize("op", ["Transpose", "Softmax"])
def test_only_the_first_stretch_is_folded(op: str) -> None:
    """What is behind is behind, though its images are small, too."""
    attrs = {"perm": (0, 1, 3, 2)} if op == "Transpose" else {"axis": 1}
    graph = grown(
        conv("first", 3, 4, SMALL), Case("stop", op, attrs=attrs), conv("last", 4, 4, SMALL), image=SMALL
    ).graph("stops")
    assert fold(graph, 4, TARGET).values == {"first"}
