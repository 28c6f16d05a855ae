"""Networks whose adaptive pools do not divide their input: the exporter of old writes no file of these."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pconv
from pconv import graph, zoo
from pconv.graph.prune import layer_weights

pytestmark = [pytest.mark.cc, pytest.mark.torch, pytest.mark.slow]


class Scenes(nn.Module):
    """PSPNet's head: what is around a place, at four scales."""

    def __init__(self, pool: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.scales = nn.ModuleList(
            nn.Sequential(pool(size), nn.Conv2d(16, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
            for size in (1, 2, 3, 6)
        )
        self.last = nn.Conv2d(32, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        wide = [functional.interpolate(scale(x), x.shape[2:], mode="bilinear") for scale in self.scales]
        y: Tensor = self.last(torch.cat([x, *wide], 1))
        return y


def vgg16() -> nn.Module:
    """VGG-16 as torchvision has it, which pools to 7x7, with a classifier of one layer."""
    return nn.Sequential(
        zoo.create("vgg16").features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(512 * 7 * 7, 10)
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (vgg16, (1, 3, 161, 300)),
        (lambda: Scenes(nn.AdaptiveAvgPool2d), (1, 3, 45, 61)),
        (lambda: Scenes(nn.AdaptiveMaxPool2d), (1, 3, 45, 61)),
    ],
    ids=["vgg16", "means", "maxima"],
)
def test_compiled(make, shape) -> None:
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(shape)
    with torch.no_grad():
        wanted = module(x).numpy()
    got = pconv.compile(module, inputs=shape)(x.numpy())
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_pools_are_no_layers_to_prune(tmp_path) -> None:
    torch.manual_seed(0)
    path = pconv.export(Scenes(nn.AdaptiveAvgPool2d), tmp_path / "net.onnx", (1, 3, 45, 61))
    layers = layer_weights(graph.load(path))
    assert list(layers) == ["stem.0", *(f"scales.{i}.1" for i in range(4)), "last"]
