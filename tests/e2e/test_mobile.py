"""Networks of many kinds go from torch to native code and compute what torch does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import pconv
from graph.models import compare
from pconv import graph

from .mobile import NETWORKS, make

pytestmark = [pytest.mark.cc, pytest.mark.torch, pytest.mark.slow]


SINCE = dict.fromkeys(("convnext", "mobilevit", "vision_transformer", "multihead_attention", "levit"), 17)
"""Older opsets have no layer norm, and no unflatten."""


def assert_alike(module: nn.Module, engine: pconv.Engine, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    with torch.no_grad():
        wanted = module(x)
    results = engine(x.numpy())
    if isinstance(wanted, torch.Tensor):
        wanted, results = [wanted], [results]
    for got, want in zip(results, wanted, strict=True):
        assert got.shape == want.shape and got.dtype == want.numpy().dtype
        difference = np.abs(got.astype(np.float64) - want.numpy())
        if want.is_floating_point():
            assert difference.max() <= 1e-4 * want.abs().max()
        else:  # a number beside a threshold may fall on its other side
            assert np.mean(difference > 0) <= 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_compiled(name: str) -> None:
    module, shape = make(name)
    for threads in (1, 2):
        assert_alike(module, pconv.compile(module, inputs=shape, threads=threads), shape)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore")
def test_exports_of_old(name: str, opset: int, tmp_path: Path) -> None:
    """The exporter before torch.export spells many operators otherwise."""
    module, shape = make(name)
    path, opset = tmp_path / "net.onnx", max(opset, SINCE.get(name, 0))
    torch.onnx.export(module, torch.zeros(shape), path, opset_version=opset, dynamo=False)
    view = graph.view(graph.normalise(graph.load(path)))
    feeds = {it: np.random.default_rng(0).standard_normal(view.shapes[it], np.float32) for it in view.inputs}
    compare(onnxruntime.InferenceSession(path), view, feeds, 1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v3", "yolo_v8", "unet"])
def test_pruned_and_compiled(name: str) -> None:
    module, shape = make(name)
    pconv.prune(module, pconv.Recipe(compression_rate=4.0, group=4)).finish()
    engine = pconv.compile(module.eval(), inputs=shape)
    assert any("sparse" in layer["reason"] for layer in engine.manifest["layers"])
    assert_alike(module, engine, shape)
