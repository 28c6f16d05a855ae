"""Resizes between blocks and into dense rows, compiled, against ONNX Runtime; and what they read for it."""

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from graph.models import make, node, normalise
from pconv import targets
from pconv.cache import Cache
from pconv.errors import UnsupportedError
from pconv.graph import GraphView
from pconv.lower import kernels as k
from pconv.lower import lower
from pconv.targets import Target

from .harness import (
    EVERY_CORE,
    HOSTS,
    TOLERANCE,
    Feeds,
    Results,
    by_onnxruntime,
    random_feeds,
    run_here,
    run_under_qemu,
)

# Channels, height and width, and what they become.
SIZES = (
    (3, (13, 9), (26, 18)),
    (2, (7, 7), (224, 224)),
    (1, (28, 28), (112, 112)),
    (2, (17, 17), (129, 129)),
    (1, (1, 1), (5, 19)),
    (2, (1, 7), (3, 40)),
    (3, (6, 5), (6, 11)),
    (2, (40, 31), (7, 9)),
    (1, (30, 5), (4, 31)),
)
PLACES = ("half_pixel", "align_corners", "asymmetric")
MODES = ("linear", "cubic")


def resizes() -> onnx.ModelProto:
    """Return every size in every way: of an input, of blocks; for the caller, and for a layer that reads a halo."""
    nodes, inputs, outputs, weights = [], {}, [], {}
    for channels, image, size in SIZES:
        x = f"x{'x'.join(map(str, image))}"
        inputs[x], weights[f"{x}.to"] = (1, channels, *image), np.array([1, channels, *size])
        nodes.append(node("LeakyRelu", x, f"{x}.inner"))
        for mode in MODES:
            for place in PLACES:
                for source in (x, f"{x}.inner"):
                    name, attrs = (
                        f"{source}.{mode}.{place}",
                        {"mode": mode, "coordinate_transformation_mode": place},
                    )
                    for y in (name, f"{name}.read"):
                        nodes.append(helper.make_node("Resize", [source, "", "", f"{x}.to"], [y], y, **attrs))
                    around = {"kernel_shape": [5, 5], "pads": [2] * 4, "count_include_pad": 1}
                    nodes.append(node("AveragePool", f"{name}.read", f"{name}.probe", **around))
                    outputs += [name, f"{name}.probe"]
    return make(nodes, inputs, outputs, weights)


MODEL = resizes()
VIEW = normalise(MODEL)


@pytest.fixture(scope="module")
def feeds() -> Feeds:
    return random_feeds(VIEW)


@pytest.fixture(scope="module")
def wanted(feeds: Feeds) -> Results:
    return by_onnxruntime(MODEL, feeds)


def assert_close(results: Results, wanted: Results, dtype: str = "fp32") -> None:
    errors = {name: np.abs(results[name] - want).max() / np.abs(want).max() for name, want in wanted.items()}
    assert not {name: error for name, error in errors.items() if not error <= TOLERANCE[dtype]}


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_on_this_machine(target: Target, feeds: Feeds, wanted: Results, session_cache: Cache) -> None:
    assert_close(run_here(VIEW, target, session_cache, feeds), wanted)


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", EVERY_CORE)
def test_on_aarch64(dtype: str, feeds: Feeds, wanted: Results, session_cache: Cache, tmp_path: Path) -> None:
    target = targets.get("aarch64", dtype=dtype)
    results = run_under_qemu(VIEW, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype][-1:])
    assert_close(results, wanted, dtype)


@pytest.mark.parametrize("name", targets.names())
def test_a_result_goes_straight_to_the_caller(name: str) -> None:
    steps = {step.name: step for step in lower(VIEW, targets.get(name)).steps}
    for output in (output for output in VIEW.outputs if not output.endswith("probe")):
        assert steps[output].output.space == "output"
        assert isinstance(steps[output].kernel, k.ResizeKernel) or output.startswith("x1x1."), (
            "one pixel is copied"
        )


@pytest.mark.parametrize(
    ("image", "size", "taps"),
    [((56, 56), (112, 112), (2, 2)), ((28, 28), (224, 224), (2, 2)), ((65, 65), (513, 513), (3, 3))],
)
def test_blocks_in_proportion_need_few_taps(
    image: tuple[int, int], size: tuple[int, int], taps: tuple[int, int]
) -> None:
    attrs = {
        "mode": "linear",
        "coordinate_transformation_mode": "half_pixel" if size[0] % 2 == 0 else "align_corners",
    }
    nodes = [
        node("Sigmoid", "x", "a"),
        helper.make_node("Resize", ["a", "", "", "to"], ["b"], **attrs),
        node("GlobalAveragePool", "b", "y"),
    ]
    view = normalise(make(nodes, {"x": (1, 2, *image)}, ["y"], {"to": np.array([1, 2, *size])}))
    made = [step.kernel for step in lower(view, targets.get("x86-64-v4")).steps]
    assert [kernel.taps for kernel in made if isinstance(kernel, k.ResizeKernel)] == [taps]


# What each operator reads besides the one before, and its attributes.
HEADS = {
    "softmax": [("Softmax", "", {"axis": 1})],
    "sigmoid": [("Sigmoid", "", {})],
    "several": [
        ("PRelu", "slope", {}),
        ("Mul", "two", {}),
        ("Tanh", "", {}),
        ("Softmax", "", {"axis": 1}),
        ("Sqrt", "", {}),
    ],
}


def heads() -> onnx.ModelProto:
    """Return networks that end in a resize and what works on its dense rows as well."""
    nodes, inputs, outputs = [], {}, []
    weights = {"slope": np.float32([[[0.25]]]), "two": np.float32(2)}
    for (channels, image, size), (head, tail) in product(SIZES[:6], HEADS.items()):
        x = f"{head}{'x'.join(map(str, image))}"
        inputs[x], weights[f"{x}.to"] = (1, channels, *image), np.array([1, channels, *size])
        nodes.append(node("LeakyRelu", x, f"{x}.inner"))
        nodes.append(helper.make_node("Resize", [f"{x}.inner", "", "", f"{x}.to"], [f"{x}.0"], mode="linear"))
        for i, (op, other, attrs) in enumerate(tail):
            nodes.append(node(op, f"{x}.{i} {other}", f"{x}.{i + 1}", f"{x}.{op}", **attrs))
        outputs.append(f"{x}.{len(tail)}")
    return make(nodes, inputs, outputs, weights)


def heads_and_answers() -> tuple[GraphView, Feeds, Results]:
    model = heads()
    view = normalise(model)
    feeds = random_feeds(view)
    return view, feeds, by_onnxruntime(model, feeds)


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_heads_work_on_dense_rows(target: Target, session_cache: Cache) -> None:
    view, feeds, wanted = heads_and_answers()
    assert_close(run_here(view, target, session_cache, feeds), wanted)
    steps = lower(view, target).steps
    assert {step.output.space for step in steps if step.output.name in view.outputs} == {"output"}
    assert not [step.name for step in steps if step.name.endswith((":output", ".0:relayout"))]


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", EVERY_CORE)
def test_heads_on_aarch64(dtype: str, session_cache: Cache, tmp_path: Path) -> None:
    view, feeds, wanted = heads_and_answers()
    target = targets.get("aarch64", dtype=dtype)
    assert_close(
        run_under_qemu(view, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype][-1:]), wanted, dtype
    )


def test_what_is_also_read_in_blocks_stays_in_blocks() -> None:
    attrs = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nodes = [
        helper.make_node("Resize", ["x", "", "", "to"], ["a"], "a", **attrs),
        node("Sigmoid", "a", "b", "b"),
        node("Softmax", "b", "y", "y", axis=1),
        node("AveragePool", "b", "z", "z", kernel_shape=[3, 3]),
    ]
    view = normalise(make(nodes, {"x": (1, 2, 7, 5)}, ["y", "z"], {"to": np.array([1, 2, 14, 10])}))
    steps = {step.name: step for step in lower(view, targets.get("x86-64-v4")).steps}
    assert [steps[name].output.layout.planar for name in "aby"] == [False, False, True]


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_rows_too_long_to_wait_on_the_stack(target: Target, session_cache: Cache) -> None:
    view = normalise(
        make([node("Expand", "x to", "y")], {"x": (1, 2, 1, 1)}, ["y"], {"to": np.array([1, 2, 1, 300_000])})
    )
    feeds = random_feeds(view)
    assert_close(
        run_here(view, target, session_cache, feeds), {"y": np.broadcast_to(feeds["x"], (1, 2, 1, 300_000))}
    )


def test_weighted_rows_too_long_are_refused() -> None:
    attrs = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nodes = [helper.make_node("Resize", ["x", "", "", "to"], ["y"], "up", **attrs)]
    view = normalise(make(nodes, {"x": (1, 1, 3, 30)}, ["y"], {"to": np.array([1, 1, 6, 300_000])}))
    with pytest.raises(
        UnsupportedError, match=r"up \(Resize\): rows of 300000 columns .* allowed up to \d+\. "
    ):
        lower(view, targets.get("x86-64-v4"))
