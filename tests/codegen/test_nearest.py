"""Nearest resizes, compiled, against ONNX Runtime: bits are copied as they are, and nothing of a neighbour's."""

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from graph.models import make, node, normalise
from pconv import targets
from pconv.cache import Cache
from pconv.lower import kernels as k
from pconv.lower import lower
from pconv.targets import Target

from .harness import EVERY_CORE, HOSTS, TOLERANCE, Feeds, Results, by_onnxruntime, run_here, run_under_qemu

# Channels, height and width, and what they become.
SIZES = (
    (3, (14, 8), (28, 16)),
    (2, (13, 9), (26, 18)),
    (2, (5, 6), (20, 24)),
    (1, (7, 28), (28, 112)),
    (2, (17, 17), (43, 29)),
    (1, (1, 1), (5, 19)),
    (2, (1, 7), (3, 40)),
    (2, (40, 31), (7, 9)),
    (1, (16, 12), (8, 6)),
    (1, (30, 5), (4, 31)),
)
PLACES = (
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "half_pixel_symmetric",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
EVERY_WAY = tuple(product(PLACES, ROUNDINGS))


def resizes() -> onnx.ModelProto:
    """Return resizes of an input, and of blocks; for the caller, and for a layer that reads a halo."""
    nodes, inputs, outputs, weights = [], {}, [], {}
    around = {"kernel_shape": [5, 5], "pads": [2] * 4, "count_include_pad": 1}
    for channels, image, size in SIZES:
        x = f"x{'x'.join(map(str, image))}"
        inputs[x] = (1, channels, *image)
        nodes.append(node("Concat", f"{x} {x}", f"{x}.inner", axis=1))
        for source, planes in ((x, channels), (f"{x}.inner", 2 * channels)):
            weights[f"{source}.to"] = np.array([1, planes, *size])
            for place, rounding in EVERY_WAY[:: 1 if image in ((5, 6), (17, 17)) else 5]:
                name = f"{source}.{place}.{rounding}"
                attrs = {
                    "mode": "nearest",
                    "coordinate_transformation_mode": place,
                    "nearest_mode": rounding,
                }
                for y in (name, f"{name}.read"):
                    nodes.append(
                        helper.make_node("Resize", [source, "", "", f"{source}.to"], [y], y, **attrs)
                    )
                nodes.append(node("AveragePool", f"{name}.read", f"{name}.probe", **around))
                outputs += [name, f"{name}.read", f"{name}.probe"]
    return make(nodes, inputs, outputs, weights, opset=19)


MODEL = resizes()
VIEW = normalise(MODEL)


@pytest.fixture(scope="module")
def feeds() -> Feeds:
    """Draw images of halves; some pixels are what a sum, or a product with 0 or 1, would not leave as it is."""
    random = np.random.default_rng(0)
    images = {name: random.standard_normal(VIEW.shapes[name]).astype(np.float16) for name in VIEW.inputs}
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float16)
    picked = {name: random.random(image.shape) < 0.1 for name, image in images.items()}
    drawn = {name: np.where(picked[name], random.choice(odd, x.shape), x) for name, x in images.items()}
    return {name: image.astype(np.float32) for name, image in drawn.items()}


@pytest.fixture(scope="module")
def wanted(feeds: Feeds) -> Results:
    return by_onnxruntime(MODEL, feeds)


def assert_same(results: Results, wanted: Results, dtype: str = "fp32") -> None:
    for name, want in wanted.items():
        got, tolerance = results[name], TOLERANCE[dtype]
        if name.endswith("probe"):
            np.testing.assert_allclose(got, want, rtol=0, atol=4 * tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)
            numbers = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers], err_msg=name)


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_on_this_machine(target: Target, feeds: Feeds, wanted: Results, session_cache: Cache) -> None:
    assert_same(run_here(VIEW, target, session_cache, feeds), wanted)


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", EVERY_CORE)
def test_on_aarch64(dtype: str, feeds: Feeds, wanted: Results, session_cache: Cache, tmp_path: Path) -> None:
    target = targets.get("aarch64", dtype=dtype)
    results = run_under_qemu(VIEW, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype][-1:])
    assert_same(results, wanted, dtype)


@pytest.mark.parametrize(
    ("image", "size", "taps"),
    [
        ((56, 56), (112, 112), (1, 1)),
        ((28, 28), (112, 112), (1, 1)),
        ((28, 28), (14, 14), (1, 1)),
        ((13, 13), (26, 26), (2, 2)),
    ],
)
def test_blocks_in_proportion_are_copied_vector_by_vector(
    image: tuple[int, int], size: tuple[int, int], taps: tuple[int, int]
) -> None:
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        node("Sigmoid", "x", "a"),
        helper.make_node("Resize", ["a", "", "", "to"], ["b"], **attrs),
        node("GlobalAveragePool", "b", "y"),
    ]
    view = normalise(make(nodes, {"x": (1, 2, *image)}, ["y"], {"to": np.array([1, 2, *size])}))
    made = [step.kernel for step in lower(view, targets.get("aarch64")).steps]
    assert [(kernel.taps, kernel.nearest) for kernel in made if isinstance(kernel, k.ResizeKernel)] == [
        (taps, True)
    ]


def test_lanes_far_apart_are_copied_one_by_one() -> None:
    kinds = {}
    for step in lower(VIEW, targets.get("x86-64-v4")).steps:
        if step.op == "Resize" and ".inner" in step.name and step.name.endswith(".read"):
            kinds.setdefault(step.name.split(".")[0], set()).add(type(step.kernel))
    assert kinds["x5x6"] == {k.ResizeKernel}
    assert kinds["x40x31"] == {k.GatherKernel}
