"""Outputs that are integers or masks are those of ONNX Runtime, to the last one and in its types."""

from pathlib import Path

import numpy as np
import pytest

import pconv
from codegen.harness import HOSTS, run_under_qemu
from graph.models import make, node
from pconv import graph, targets
from pconv.cache import Cache
from pconv.targets import Target

from .conftest import Judge
from .whole import SHAPES, image, write

pytestmark = pytest.mark.cc


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", HOSTS)
def test_compiled(target: Target, shape: tuple[int, ...], judge: Judge, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", shape)
    x = image((3, *shape[1:]))
    with pconv.compile(path, target=target.name) as engine:
        results = engine(x)
        assert [info.dtype for info in engine.outputs] == [result.dtype.name for result in results]
    for i in range(len(x)):
        for got, want in zip(results, judge(path, {"x": x[i : i + 1]}), strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got[i : i + 1], want)


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "fp16-fp32acc"])
def test_on_aarch64(dtype: str, judge: Judge, session_cache: Cache, tmp_path: Path) -> None:
    """In C all outputs are floats."""
    path = write(tmp_path / "net.onnx", SHAPES[2])
    view, feeds = graph.view(graph.normalise(graph.load(path))), {"x": image(SHAPES[2])}
    target = targets.get("aarch64", dtype=dtype)
    results = run_under_qemu(view, session_cache, feeds, tmp_path, target, ["max"])
    for name, want in zip(view.outputs, judge(path, feeds), strict=True):
        np.testing.assert_array_equal(results[name], want.astype(np.float32), err_msg=name)


def test_integers_narrower_than_their_values_wrap_around() -> None:
    """As numpy and ONNX Runtime have it: 300 is 44 in a byte."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    x = np.arange(300, dtype=np.float32)[None]
    nodes = [
        helper.make_node("ArgMax", ["x"], ["i"], axis=1),
        helper.make_node("Add", ["i", "one"], ["j"]),
        helper.make_node("Cast", ["j"], ["y"], to=TensorProto.UINT8),
    ]
    body = helper.make_graph(
        nodes,
        "narrow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.array(1), "one")],
    )
    model: onnx.ModelProto = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    with pconv.compile(model) as engine:
        result = engine(x)
    assert (result.dtype, result.item()) == (np.uint8, 44)


def test_more_places_than_halves_count_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", (1, 2, 40, 40))
    with pytest.raises(
        pconv.PconvError, match=r"over 3200 positions, and halves count up to 2048\. Compile the mod"
    ):
        pconv.compile_file(path, target="opencl-fp16", out=tmp_path / "net.pcl")


def test_a_model_whose_output_has_no_batch_runs_on_one_sample() -> None:
    nodes = [node("Sigmoid", "x", "s"), node("Reshape", "s n", "y")]
    with pconv.compile(make(nodes, {"x": (1, 3, 5, 7)}, ["y"], {"n": np.array([-1])})) as engine:
        assert engine(np.zeros((1, 3, 5, 7), np.float32)).tolist() == [0.5] * 105
        with pytest.raises(pconv.InputError, match=r"shape \(2, 3, 5, 7\), allowed \(1, 3, 5, 7\)\."):
            engine(np.zeros((2, 3, 5, 7), np.float32))
