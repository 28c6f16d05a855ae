"""Real ONNX files, read where PCONV_DATA says."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pconv import graph

from .models import compare, ops, rand

pytestmark = pytest.mark.data


def test_squeezenet(data_folder: Path) -> None:
    path = data_folder / "squeezenet_v1.1" / "squeezenet_v1.1.onnx"
    view = graph.view(graph.normalise(graph.load(path)))
    assert view.name == "squeezenet_v1.1"
    assert {op: ops(view).count(op) for op in ops(view)} == {
        "Conv": 26, "MaxPool": 3, "Concat": 8, "GlobalAveragePool": 1, "Flatten": 1}  # fmt: skip
    assert [n.name for n in view.nodes[:4]] == ["conv1", "/MaxPool", "fire2.squeeze1x1", "fire2.expand1x1"]
    assert all(n.attrs["activation"] == "relu" for n in view.nodes if n.op == "Conv")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compare(session, view, {"data": rand(1, 3, 227, 227) * 50}, 1e-4, np.float32)


def test_espcn(data_folder: Path) -> None:
    path = data_folder / "espcn_x3" / "espcn_x3.onnx"
    view = graph.view(graph.normalise(graph.load(path)))
    assert [n.name for n in view.nodes[:4]] == ["conv1", "conv2", "conv3", "conv4"]
    assert ops(view) == ["Conv"] * 4 + ["DepthToSpace"] and view.nodes[4].attrs["mode"] == "CRD"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compare(session, view, {"input": np.abs(rand(1, 1, 224, 224)) % 1}, 1e-4, np.float32)
