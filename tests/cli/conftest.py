"""A small model, and a way to run the command line as a user does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pconv.cli import main

SHAPE = (1, 3, 8, 8)


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("PCONV_DEBUG", raising=False)

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(int(stopped.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def shared_cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_CACHE", str(cache_folder))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """conv1 3x3 of 3 to 8, conv2 3x3 of 8 to 16, global average, fc to 10."""
    draw = np.random.default_rng(0)
    weights = {
        "conv1.weight": draw.standard_normal((8, 3, 3, 3)),
        "conv2.weight": draw.standard_normal((16, 8, 3, 3)),
        "fc.weight": draw.standard_normal((10, 16)),
        "fc.bias": draw.standard_normal(10),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv1.weight"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "conv2.weight"], ["c"], "conv2", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["e"], "flatten"),
        helper.make_node("Gemm", ["e", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(made, path)
    return path


@pytest.fixture(scope="session")
def compiled(model: Path, cache_folder: Path) -> Path:
    """The small model, compiled once."""
    import pconv

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCONV_CACHE", str(cache_folder))
        return pconv.compile(model, threads=1).save(model.with_name("tiny.so"))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)


@pytest.fixture
def expected(model: Path, x: np.ndarray) -> np.ndarray:
    """What ONNX's own evaluator says."""
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(onnx.load(model)).run(None, {"x": x})[0])
