"""Small networks with every kind of join, as ONNX models."""

import numpy as np
import onnx

from graph.models import make, node, rand
from pconv.bench.case import Sparsity


def _conv(name: str, out: str, x: str, **attrs: object) -> onnx.NodeProto:
    return node("Conv", f"{x} {name}.w {name}.b", out, name, **attrs)


def _weights(sparse: bool, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}
    for i, (name, shape) in enumerate(shapes.items()):
        weight = rand(*shape, seed=i) / np.float32(np.prod(shape[1:]) ** 0.5)
        if sparse and shape[1] > 4:
            weight = weight * Sparsity(2.0, "scp8" if shape[2:] == (3, 3) else None, 2).mask(weight)
        made |= {f"{name}.w": weight, f"{name}.b": rand(shape[0], seed=i)}
    return made


def residual_network(sparse: bool = True) -> onnx.ModelProto:
    """Two residual blocks, the second with stride 2 and a 1x1 branch, then a classifier."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        _conv("stem", "s0", "image", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[2, 2]),
        node("Relu", "s0", "s1"),
        node("MaxPool", "s1", "s", kernel_shape=[3, 3], strides=[2, 2], **same),
        _conv("a1", "a1_", "s", **same),
        node("Relu", "a1_", "a1"),
        _conv("a2", "a2_", "a1", **same),
        node("Add", "a2_ s", "a"),
        node("Relu", "a", "ar"),
        _conv("b1", "b1_", "ar", strides=[2, 2], **same),
        node("Relu", "b1_", "b1"),
        _conv("b2", "b2_", "b1", **same),
        _conv("down", "d", "ar", strides=[2, 2]),
        node("Add", "b2_ d", "b"),
        node("Clip", "b low high", "br"),
        node("GlobalAveragePool", "br", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f fc.w fc.b", "logits", "fc", transB=1),
        node("Softmax", "logits", "p"),
    ]
    weights = _weights(
        sparse,
        stem=(16, 3, 5, 5),
        a1=(16, 16, 3, 3),
        a2=(16, 16, 3, 3),
        b1=(24, 16, 3, 3),
        b2=(24, 24, 3, 3),
        down=(24, 16, 1, 1),
        fc=(10, 24),
    )
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    weights |= {name: np.asarray(value) for name, value in bounds.items()}
    return make(nodes, {"image": [1, 3, 61, 47]}, ["p"], weights)


def joins() -> onnx.ModelProto:
    """Values read in two geometries, read and returned, returned twice, returned as they came in."""
    nodes = [
        _conv("first", "v", "x", pads=[1, 1, 1, 1]),  # read by five, and an output
        _conv("wide", "w", "v", pads=[4, 4, 4, 4], dilations=[4, 4]),  # needs a halo larger than a block
        _conv("cut", "c", "v", kernel_shape=[4, 4], strides=[3, 3]),  # blocks of another geometry
        node("Concat", "v x w", "cat", axis=1),
        node("Add", "v one", "v1"),
        node("Sub", "channels v", "v2"),
        node("Mul", "v1 v2", "v3"),
        node("Div", "v3 two", "v4"),
        _conv("last", "l", "cat"),
        node("Add", "l v4", "sum"),
        node("Tanh", "sum", "t"),
        node("Identity", "x", "same"),
        node("Identity", "t", "again"),
        node("Reshape", "row square", "grid"),
        _conv("tiny", "tiny_", "grid", pads=[1, 1, 1, 1]),
        node("Reshape", "v long", "flat"),
    ]
    weights = _weights(
        False, first=(6, 4, 3, 3), wide=(5, 6, 3, 3), cut=(3, 6, 4, 4), last=(6, 15, 1, 1), tiny=(4, 2, 3, 3)
    )
    weights |= {
        "one": np.ones((1, 1, 1), np.float32),
        "two": np.float32([[[2]]]),
        "channels": rand(6, 1, 1),
        "square": np.array([1, 2, 3, 5]),
        "long": np.array([1, -1]),
    }
    inputs = {"x": [1, 4, 14, 11], "row": [1, 30]}
    return make(nodes, inputs, ["v", "c", "t", "again", "same", "cat", "tiny_", "flat"], weights)


def upscaler() -> onnx.ModelProto:
    """What super-resolution ends with: tanh, pixel shuffle; and a convolution behind it."""
    nodes = [
        _conv("a", "a_", "x", pads=[2, 2, 2, 2]),
        node("Tanh", "a_", "at"),
        _conv("b", "b_", "at", pads=[1, 1, 1, 1]),
        node("DepthToSpace", "b_", "up", blocksize=3, mode="CRD"),
        _conv("c", "y", "up", pads=[1, 1, 1, 1]),
    ]
    weights = _weights(False, a=(8, 1, 5, 5), b=(9, 8, 3, 3), c=(2, 1, 3, 3))
    return make(nodes, {"x": [1, 1, 9, 14]}, ["y"], weights)


NETWORKS = {"residual": residual_network, "joins": joins, "upscaler": upscaler}
