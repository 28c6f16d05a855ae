"""What is near the ends of a type: numbers, and the tables of long inputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import pconv
from codegen.harness import HOSTS
from graph.models import make, node, rand
from pconv.targets import Target

from .conftest import Judge

pytestmark = pytest.mark.cc

INT64 = onnx.TensorProto.INT64
ENDS = [-np.inf, -200, -104, -100, -87.5, -87, 0, 88, 88.5, 88.7, 89, 200, np.inf, np.nan]


@pytest.mark.parametrize("target", HOSTS)
def test_exp_to_the_ends_of_floats(target: Target, judge: Judge, tmp_path: Path) -> None:
    x = np.array([ENDS], np.float32)
    path = tmp_path / "exp.onnx"
    onnx.save(make([node("Exp", "x", "y")], {"x": list(x.shape)}, ["y"]), path)
    with pconv.compile(path, target=target.name) as engine:
        np.testing.assert_allclose(engine(x), judge(path, {"x": x})[0], rtol=1e-6, atol=1e-42)


@pytest.mark.parametrize("target", HOSTS)
def test_more_vectors_in_a_row_than_16_bits_count(target: Target, judge: Judge, tmp_path: Path) -> None:
    x = rand(1, 1, 1, 1_100_000)
    path = tmp_path / "long.onnx"
    nodes = [node("Conv", f"{a} w{a}", b, pads=[0, 1, 0, 1]) for a, b in ("xh", "hy")]
    onnx.save(
        make(nodes, {"x": list(x.shape)}, ["y"], {"wx": rand(2, 1, 1, 3), "wh": rand(1, 2, 1, 3)}), path
    )
    with pconv.compile(path, target=target.name) as engine:
        np.testing.assert_allclose(engine(x), judge(path, {"x": x})[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", HOSTS)
def test_a_count_of_more_pixels_than_a_layer_may_have_channels(
    target: Target, judge: Judge, tmp_path: Path
) -> None:
    x = rand(1, 1, 307, 311)
    path = tmp_path / "count.onnx"
    nodes = [node("Greater", "x zero", "g"), node("Cast", "g", "i", to=INT64), node("ReduceSum", "i a", "y")]
    weights = {"zero": np.float32(0), "a": np.array([2, 3])}
    onnx.save(make(nodes, {"x": list(x.shape)}, {"y": INT64}, weights), path)
    with pconv.compile(path, target=target.name) as engine:
        np.testing.assert_array_equal(engine(x), judge(path, {"x": x})[0])
