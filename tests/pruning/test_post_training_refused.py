"""Which modules and layers post-training pruning sees and prunes, and which it refuses by name, before any change."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.errors import ModelError, UnsupportedError  # noqa: E402
from pconv.pruning import post_train, sensitivity  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Twice(Branch):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + self.conv(x * 2)


class TwoInputs(Branch):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.conv(x + y)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Branch(),
            r"Branch: post-training pruning cannot trace its forward .* prune the ONNX file with --calibrate",
        ),
        (
            Twice(),
            r"conv: it runs more than once; .* that run once\. Leave it dense with --exclude conv, in a recipe",
        ),
        (TwoInputs(), r"TwoInputs: post-training pruning feeds one input"),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")),
            r"0: padding .* mode circular; post-training pruning allows zeros",
        ),
    ],
)
def test_modules_that_are_refused(network: nn.Module, message: str, images: torch.Tensor) -> None:
    with pytest.raises(UnsupportedError, match=message):
        post_train(network, images, Recipe(compression_rate=2.25))


class OwnClass(nn.Conv2d):
    pass


class Centred(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias)


class CentredWithin(nn.Conv2d):
    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


def centred(conv: nn.Conv2d) -> nn.Conv2d:
    """Give a layer a forward that its class does not have."""
    conv.forward = Centred.forward.__get__(conv)
    return conv


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix = nn.Conv2d(3, 8, 3), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).flatten(2).mT
        return self.mix(x, x, x, need_weights=False)[0]


def test_a_layer_of_a_class_of_ones_own_is_pruned(images: torch.Tensor) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), OwnClass(8, 8, 3))
    recipe = Recipe(compression_rate=4.5)
    assert list(sensitivity(module, images, recipe)) == ["1"]
    assert post_train(module, images, recipe).layers["1"].compression_rate == 4.5


@pytest.mark.parametrize(
    ("network", "message", "layer"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), Centred(8, 8, 3)), "1: a forward of your own computes", "1"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), CentredWithin(8, 8, 3)), "1: a forward of your own computes", "1"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), centred(nn.Conv2d(8, 8, 3))), "1: a forward of your own", "1"),
        (Attention(), r"mix.out_proj: mix \(MultiheadAttention\) computes with its weight", "mix.out_proj"),
    ],
)
def test_layers_that_something_else_computes_are_refused_unless_dense(
    network: nn.Module, message: str, layer: str, images: torch.Tensor
) -> None:
    for work in (post_train, sensitivity):
        with pytest.raises(UnsupportedError, match=message):
            work(network, images, Recipe())
    assert post_train(network, images, Recipe(exclude=(layer,))).layers[layer].density == 1


def test_a_dense_layer_may_run_more_than_once(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 3, 3), Twice(), nn.Conv2d(8, 8, 3))
    before = copy.deepcopy(module)
    sparsity = post_train(module, images, Recipe(compression_rate=2.25, exclude=("1.conv",)))
    assert [name for name, layer in sparsity.layers.items() if layer.density < 1] == ["0", "2"]
    assert torch.equal(module[1].conv.weight, before[1].conv.weight)


class NotANumber(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.inf * 0


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ([nn.Conv2d(8, 8, 3, padding="same")], "4: padding 'same', .* Leave it dense with --exclude 4"),
        ([NotANumber(), nn.Conv2d(8, 8, 3)], "5: it computes NaN or infinity"),
    ],
)
def test_a_module_that_is_refused_is_as_it_was(
    last: list[nn.Module], message: str, images: torch.Tensor
) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.ReLU(), *last
    )
    before = copy.deepcopy(module.state_dict())
    with pytest.raises((UnsupportedError, ModelError), match=message):
        post_train(module, images, Recipe(compression_rate=2.25))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert module.training


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.conv(x), x


def test_sensitivity_compares_one_output(images: torch.Tensor) -> None:
    with pytest.raises(UnsupportedError, match="Pair: it gives a tuple; sensitivity compares one tensor"):
        sensitivity(Pair(), images)
