"""A small network that every peer can read."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

IMAGE = (1, 3, 16, 16)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3x3 convolution, a depthwise one with stride, a residual, pooling, and a fully connected layer."""
    draw = np.random.default_rng(0)
    weights = {
        "conv1.weight": draw.standard_normal((8, 3, 3, 3)) / 5,
        "conv1.bias": draw.standard_normal(8),
        "conv2.weight": draw.standard_normal((8, 1, 3, 3)) / 3,
        "conv3.weight": draw.standard_normal((8, 8, 1, 1)) / 3,
        "fc.weight": draw.standard_normal((10, 8)),
        "fc.bias": draw.standard_normal(10),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node(
            "Conv", ["b", "conv2.weight"], ["c"], "conv2", pads=[1] * 4, strides=[2, 2], group=8
        ),
        helper.make_node("Conv", ["c", "conv3.weight"], ["d"], "conv3"),
        helper.make_node("Add", ["c", "d"], ["e"], "add"),
        helper.make_node("MaxPool", ["e"], ["f"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"], "mean"),
        helper.make_node("Flatten", ["g"], ["h"], "flatten"),
        helper.make_node("Gemm", ["h", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def image() -> dict[str, np.ndarray]:
    """An input of the small network."""
    return {"x": np.random.default_rng(1).standard_normal(IMAGE, dtype=np.float32)}
