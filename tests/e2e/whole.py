"""A network of whole numbers, which every engine adds up exactly: its places, masks and choices are the same in all."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPES = [(1, 3, 1, 1), (1, 1, 7, 5), (1, 5, 13, 9), (1, 4, 40, 33)]
OUTPUTS = {
    "place": TensorProto.INT64,
    "row": TensorProto.INT64,
    "least": TensorProto.INT32,
    "best": TensorProto.FLOAT,
    "index": TensorProto.INT64,
    "mask": TensorProto.BOOL,
    "byte": TensorProto.UINT8,
    "chosen": TensorProto.FLOAT,
    "of_all": TensorProto.INT64,
    "count": TensorProto.INT64,
    "counts": TensorProto.INT32,
    "total": TensorProto.INT64,
}
NODES = [
    (("Conv", "x w b", "c"), {"pads": [1, 1, 1, 1]}),
    (("ArgMax", "c", "place"), {"axis": 1, "keepdims": 0}),
    (("ArgMax", "c", "row"), {"axis": 3}),
    (("ArgMin", "c", "least64"), {"axis": 1}),
    (("Cast", "least64", "least"), {"to": TensorProto.INT32}),
    (("TopK", "c one", "best index"), {"axis": 1}),
    (("GreaterOrEqual", "c two", "mask"), {}),
    (("Cast", "mask", "byte"), {"to": TensorProto.UINT8}),
    (("Where", "mask c x", "chosen"), {}),
    (("Flatten", "c", "flat"), {}),
    (("ArgMax", "flat", "of_all"), {"axis": 1}),
    (("Cast", "mask", "ones"), {"to": TensorProto.INT64}),
    (("ReduceSum", "ones pixels", "count"), {"keepdims": 0}),
    (("Cast", "mask", "ones32"), {"to": TensorProto.INT32}),
    (("ReduceSum", "ones32 rows", "counts"), {}),
    (("ReduceSum", "place rows", "total"), {}),
]


def write(path: Path, shape: tuple[int, ...]) -> Path:
    """Write the network for images of a shape."""
    channels, draw = shape[1], np.random.default_rng(0)
    weights = {
        "w": draw.integers(-2, 3, (channels, channels, 3, 3)).astype(np.float32),
        "b": draw.integers(-2, 3, channels).astype(np.float32),
        "one": np.array([1]),
        "two": np.array(2, np.float32),
        "pixels": np.array([2, 3]),
        "rows": np.array([2]),
    }
    nodes = [helper.make_node(op, ins.split(), outs.split(), **attrs) for (op, ins, outs), attrs in NODES]
    graph = helper.make_graph(
        nodes,
        "whole",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in OUTPUTS.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def image(shape: tuple[int, ...]) -> np.ndarray:
    """Draw an image of few whole numbers, so that many of the results are equal."""
    return np.random.default_rng(1).integers(-1, 2, shape).astype(np.float32)
