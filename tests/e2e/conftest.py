"""What the end-to-end tests share: ONNX Runtime as the judge, a small model, and the command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Feeds = dict[str, np.ndarray]
Judge = Callable[[Path, Feeds], list[np.ndarray]]
Cli = Callable[..., subprocess.CompletedProcess[str]]

TINY_SHAPE = (1, 3, 12, 12)


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Return ONNX Runtime as a function from a file and its inputs to the outputs."""
    import onnxruntime

    def run(path: Path, inputs: Feeds) -> list[np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs: list[np.ndarray] = session.run(None, inputs)
        return outputs

    return run


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Return a function that runs `pconv ARGUMENTS` as a user does, in the test's own directory."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from pconv.cli import main; main()", *map(str, arguments)]
        variables = {**os.environ, **environment}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    return run


@dataclass(frozen=True)
class Tiny:
    """Two convolutions and a classifier: parts that a test breaks one at a time."""

    nodes: tuple[onnx.NodeProto, ...]
    weights: Feeds

    def with_weight(self, name: str, value: np.ndarray) -> "Tiny":
        """Replace one weight."""
        return replace(self, weights={**self.weights, name: value})

    def write(self, path: Path) -> Path:
        """Write the model as a file."""
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, TINY_SHAPE)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
        return path


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """Return the small model in parts."""
    shapes = {"conv1.weight": (8, 3, 3, 3), "conv2.weight": (16, 8, 3, 3), "fc.weight": (10, 16)}
    nodes = (
        helper.make_node("Conv", ["x", "conv1.weight"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "conv2.weight"], ["c"], "conv2", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["e"], "flatten"),
        helper.make_node("Gemm", ["e", "fc.weight"], ["y"], "fc", transB=1),
    )
    return Tiny(nodes, {name: draw(shape, seed=i) for i, (name, shape) in enumerate(shapes.items())})


@pytest.fixture(scope="session")
def tiny_file(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the small model as an ONNX file."""
    return tiny.write(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny_library(tiny_file: Path) -> Path:
    """Return the small model, compiled."""
    import pconv

    with pconv.compile(tiny_file, threads=1) as engine:
        return engine.save(tiny_file.with_suffix(".so"))


def rel_err(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest expected value."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draw a normal sample."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
