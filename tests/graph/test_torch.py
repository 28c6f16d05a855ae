"""Torch modules: what the exporter writes for the patterns of real networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from pconv import graph  # noqa: E402
from pconv.errors import ModelError, UnsupportedError  # noqa: E402
from pconv.graph import torch_export  # noqa: E402

from .models import ops, rand  # noqa: E402
from .reference import execute  # noqa: E402

pytestmark = pytest.mark.torch


def settle(module):
    """Give batch norms statistics that are not trivial."""
    for i, part in enumerate(module.modules()):
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, generator=torch.Generator().manual_seed(i))
            nn.init.uniform_(part.running_var, 0.5, 2, generator=torch.Generator().manual_seed(i))
    return module


def check(module, *shapes):
    view = graph.view(graph.normalise(graph.load(module, inputs=list(shapes))))
    feeds = {name: rand(*shape) for name, shape in zip(view.inputs, shapes, strict=True)}
    with torch.no_grad():
        wanted = module.eval()(*(torch.from_numpy(feeds[name]) for name in view.inputs))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for got, want in zip(execute(view, feeds).values(), wanted, strict=True):
        assert got.shape == tuple(want.shape)
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-4)
    return view


class Basic(nn.Module):
    """A residual block of ResNet: projected, padded (option A), or plain."""

    def __init__(self, ic, oc, stride, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(ic, oc, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(oc)
        self.conv2 = nn.Conv2d(oc, oc, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(oc)
        self.shortcut = shortcut
        if shortcut == "project":
            self.downsample = nn.Sequential(nn.Conv2d(ic, oc, 1, stride, bias=False), nn.BatchNorm2d(oc))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut == "project":
            x = self.downsample(x)
        elif self.shortcut == "pad":
            c = (y.shape[1] - x.shape[1]) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, c, c), "constant", 0)
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layers = nn.Sequential(Basic(8, 8, 1, ""), Basic(8, 16, 2, "project"), Basic(16, 32, 2, "pad"))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = self.layers(self.pool(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(F.avg_pool2d(x, x.size()[3]).view(x.size(0), -1))


def test_resnet():
    view = check(settle(ResNet()), (1, 3, 64, 64))
    assert ops(view) == [
        "Conv", "MaxPool", "Conv", "Conv", "Conv", "Conv", "Conv", "Conv", "Subsample", "Conv",
        "GlobalAveragePool", "Flatten", "Gemm"]  # fmt: skip
    assert {n.name for n in view.nodes if n.op in ("Conv", "Gemm")} == {
        "conv1", "fc", *(f"layers.{i}.conv{j}" for i in range(3) for j in (1, 2)), "layers.1.downsample.0"
    }  # fmt: skip
    assert all(n.attrs["activation"] == "relu" for n in view.nodes if n.residual)
    subsample = next(n for n in view.nodes if n.op == "Subsample")
    assert subsample.attrs["channel_pad"] == (8, 8) and subsample.attrs["steps"] == (2, 2)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 5))

    def forward(self, x):
        x = self.features(x)
        x = x + self.features[3:](x)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def test_mobilenet():
    view = check(settle(MobileNet()), (1, 3, 16, 16))
    assert [(n.attrs["activation"], n.attrs["group"]) for n in view.nodes if n.op == "Conv"] == [
        ("clip", 1), ("clip", 8), ("none", 1), ("clip", 8), ("none", 1)]  # fmt: skip
    assert sum(n.residual is not None for n in view.nodes) == 1


class Vgg(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2, 2),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2, 2),
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4), nn.Softmax(1)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def test_vgg():
    view = check(settle(Vgg()), (1, 3, 16, 16))
    assert ops(view) == ["Conv", "Conv", "AveragePool", "Flatten", "Gemm", "Gemm", "Softmax"]
    assert [n.attrs["pool"] for n in view.nodes[:2]] == ["max2x2"] * 2
    assert view.nodes[4].attrs["activation"] == "relu"


class Others(nn.Module):
    """SqueezeNet's, DnCNN's and ESPCN's patterns, with two inputs and three outputs."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.left, self.right = (
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(4, 6, 1),
            nn.Conv2d(4, 6, 3, padding=1),
        )
        self.conv10 = nn.Conv2d(12, 12, 1)
        self.noise = nn.Conv2d(12, 3, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x, y):
        x = (x - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / 0.25
        s = F.relu(self.squeeze(x))
        both = torch.cat([F.relu(self.left(s)), F.relu(self.right(s))], 1)
        classes = F.softmax(
            F.relu(self.conv10(F.dropout(self.pool(both), training=self.training))).mean([2, 3]), 1
        )
        return (
            classes,
            y - self.noise(both),
            torch.sigmoid(self.shuffle(both)),
            F.hardtanh(y, -1, 2),
        )


def test_other_patterns():
    view = check(Others(), (1, 3, 10, 10), (1, 3, 10, 10))
    assert "Sub" in ops(view) and "DepthToSpace" in ops(view) and "Concat" in ops(view)
    assert view.nodes[0].op == "Affine"


POOLS = [
    (nn.AdaptiveAvgPool2d((5, 5)), (10, 15), ["Conv", "AveragePool"]),
    (nn.AdaptiveAvgPool2d((1, 1)), (10, 7), ["Conv", "GlobalAveragePool"]),
    (nn.AdaptiveAvgPool2d((7, 7)), (7, 7), ["Conv"]),
    (nn.AdaptiveAvgPool2d((7, 7)), (3, 5), None),  # more out than in
    (nn.AdaptiveAvgPool2d((3, 2)), (10, 7), None),
    (nn.AdaptiveAvgPool2d((None, 3)), (10, 7), None),
    (nn.AdaptiveAvgPool2d((6, 7)), (13, 7), None),
    (nn.AdaptiveAvgPool1d(5), (12,), None),
    (nn.AdaptiveAvgPool1d(4), (12,), None),
    (nn.AdaptiveMaxPool2d((5, 5)), (10, 15), ["Conv", "MaxPool"]),
    (nn.AdaptiveMaxPool2d((7, 7)), (7, 7), ["Conv"]),
    (nn.AdaptiveMaxPool2d((3, 2)), (10, 7), None),
    (nn.AdaptiveMaxPool2d((4, 7)), (3, 7), None),
    (nn.AdaptiveMaxPool1d(5), (12,), None),
    (nn.AdaptiveMaxPool1d(4), (12,), None),
]


@pytest.mark.parametrize(("pool", "size", "wanted"), POOLS, ids=str)
def test_adaptive_pools(pool, size, wanted):
    conv = (nn.Conv1d, nn.Conv2d)[len(size) - 1](3, 4, 3, padding=1)
    view = check(nn.Sequential(conv, pool), (1, 3, *size))
    assert wanted is None or ops(view) == wanted


@pytest.mark.parametrize("pool", ["Average", "Max"])
def test_a_pool_to_one_value_is_exported_for_images_of_any_size(pool):
    module = {"Average": nn.AdaptiveAvgPool2d, "Max": nn.AdaptiveMaxPool2d}[pool](1)
    exported = torch_export.export(module.eval(), (1, 3, 6, 9))
    assert f"Global{pool}Pool" in [node.op_type for node in exported.graph]


@pytest.mark.parametrize("size", [(10, 7), (6, 9)])
def test_indices_of_adaptive_pools_are_refused(size):
    with pytest.raises(UnsupportedError, match="ArgMax"):
        graph.normalise(graph.load(nn.AdaptiveMaxPool2d(3, return_indices=True), inputs=(1, 3, *size)))


def test_export_is_quiet_and_restores_the_mode(capfd, recwarn):
    module = Vgg().train()
    module.pool.eval()
    loaded = graph.load(module, inputs=torch.zeros(2, 3, 16, 16))
    assert capfd.readouterr() == ("", "") and not recwarn.list
    assert module.training and module.features.training and not module.pool.training
    assert graph.normalise(loaded).graph.inputs[0].shape.numpy() == (1, 3, 16, 16)


def test_an_exported_program_is_no_module():
    program = torch.export.export(nn.Conv2d(3, 4, 3).eval(), (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(
        ModelError, match=r"ExportedProgram: no module; allowed is a torch\.nn\.Module\. Give the one"
    ):
        graph.load(program, inputs=(1, 3, 8, 8))


def test_modules_need_inputs_that_fit():
    with pytest.raises(
        ModelError, match=r"Vgg: a torch module needs example inputs or shapes: inputs=\(1, 3, 224"
    ):
        graph.load(Vgg())
    with pytest.raises(
        ModelError, match=r"^Vgg: torch.onnx.export failed \(.*Check that the module runs"
    ) as caught:
        graph.load(Vgg(), inputs={"x": (1, 5, 16, 16)})
    assert "\n" not in str(caught.value)
