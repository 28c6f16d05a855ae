"""Networks of many kinds go from torch to native code and compute what torch does."""

import numpy as np
import pytest
import torch
from torch import nn

import pconv

from .mobile import NETWORKS, make

pytestmark = [pytest.mark.cc, pytest.mark.torch, pytest.mark.slow]


def assert_alike(module: nn.Module, engine: pconv.Engine, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    with torch.no_grad():
        wanted = module(x)
    results = engine(x.numpy())
    if isinstance(wanted, torch.Tensor):
        wanted, results = [wanted], [results]
    for got, want in zip(results, wanted, strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want.numpy()).max() <= 1e-4 * want.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_compiled(name: str) -> None:
    module, shape = make(name)
    assert_alike(module, pconv.compile(module, inputs=shape), shape)


@pytest.mark.parametrize("name", ["mobilenet_v3", "yolo_v8", "unet"])
def test_pruned_and_compiled(name: str) -> None:
    module, shape = make(name)
    pconv.prune(module, pconv.Recipe(compression_rate=4.0, group=4)).finish()
    engine = pconv.compile(module.eval(), inputs=shape)
    assert any("sparse" in layer["reason"] for layer in engine.manifest["layers"])
    assert_alike(module, engine, shape)
