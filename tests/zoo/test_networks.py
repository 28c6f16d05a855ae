"""The zoo's networks carry torchvision's names and published sizes, and compute on a sane scale."""

from collections.abc import Iterator

import pytest
import torch

from pconv import zoo
from pconv.zoo import vgg

pytestmark = pytest.mark.torch

PARAMETERS = {
    "vgg16": 138357544,
    "vgg16_bn": 138365992,
    "resnet18": 11689512,
    "resnet34": 21797672,
    "resnet50": 25557032,
    "mobilenet_v2": 3504872,
    "vgg16_cifar": 14728266,
    "resnet18_cifar": 11173962,
    "resnet20_cifar": 269722,
    "resnet56_cifar": 853018,
    "dncnn": 555137,
}
WEIGHT_BIAS = ("weight", "bias")
BATCH_NORM = (*WEIGHT_BIAS, "running_mean", "running_var", "num_batches_tracked")


def _keys(prefix: str, leaves: tuple[str, ...]) -> Iterator[str]:
    return (f"{prefix}.{leaf}" for leaf in leaves)


def _vgg(convs: tuple[int, ...], linears: tuple[str, ...], batch_norm: bool) -> Iterator[str]:
    for i in convs:
        yield from _keys(f"features.{i}", WEIGHT_BIAS)
        if batch_norm:
            yield from _keys(f"features.{i + 1}", BATCH_NORM)
    for name in linears:
        yield from _keys(name, WEIGHT_BIAS)


def _resnet(blocks: tuple[int, ...], convs: int, projected: tuple[int, ...], head: str) -> Iterator[str]:
    """Names of a ResNet whose stages in `projected` begin with a weighted shortcut."""
    yield "conv1.weight"
    yield from _keys("bn1", BATCH_NORM)
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            for i in range(1, convs + 1):
                yield f"{prefix}.conv{i}.weight"
                yield from _keys(f"{prefix}.bn{i}", BATCH_NORM)
            if block == 0 and stage in projected:
                yield f"{prefix}.downsample.0.weight"
                yield from _keys(f"{prefix}.downsample.1", BATCH_NORM)
    yield from _keys(head, WEIGHT_BIAS)


def _mobilenet_v2() -> Iterator[str]:
    def conv_bn(conv: str, norm: str) -> Iterator[str]:
        yield f"{conv}.weight"
        yield from _keys(norm, BATCH_NORM)

    yield from conv_bn("features.0.0", "features.0.1")
    for i in range(1, 18):
        inner = 1 if i == 1 else 2
        for j in range(inner):
            yield from conv_bn(f"features.{i}.conv.{j}.0", f"features.{i}.conv.{j}.1")
        yield from conv_bn(f"features.{i}.conv.{inner}", f"features.{i}.conv.{inner + 1}")
    yield from conv_bn("features.18.0", "features.18.1")
    yield from _keys("classifier.1", WEIGHT_BIAS)


VGG_CONVS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG_BN_CONVS = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
VGG_LINEARS = ("classifier.0", "classifier.3", "classifier.6")
STATE_KEYS = {
    "vgg16": _vgg(VGG_CONVS, VGG_LINEARS, False),
    "vgg16_bn": _vgg(VGG_BN_CONVS, VGG_LINEARS, True),
    "resnet18": _resnet((2, 2, 2, 2), 2, (2, 3, 4), "fc"),
    "resnet34": _resnet((3, 4, 6, 3), 2, (2, 3, 4), "fc"),
    "resnet50": _resnet((3, 4, 6, 3), 3, (1, 2, 3, 4), "fc"),
    "mobilenet_v2": _mobilenet_v2(),
    "vgg16_cifar": _vgg(VGG_BN_CONVS, ("classifier",), True),
    "resnet18_cifar": _resnet((2, 2, 2, 2), 2, (2, 3, 4), "fc"),
    "resnet20_cifar": _resnet((3, 3, 3), 2, (), "linear"),
    "resnet56_cifar": _resnet((9, 9, 9), 2, (), "linear"),
    "dncnn": (key for i in range(0, 33, 2) for key in _keys(f"model.{i}", WEIGHT_BIAS)),
}


def test_both_vgg16_have_one_classifier() -> None:
    with torch.device("meta"):
        plain, normed = (vgg.build(1000, batch_norm) for batch_norm in (False, True))
    assert str(plain.classifier) == str(normed.classifier)
    assert str(plain.features) != str(normed.features)


@pytest.mark.parametrize("name", PARAMETERS)
def test_names_size_and_scale(name: str) -> None:
    global_state = torch.get_rng_state()
    network = zoo.create(name)
    assert torch.equal(torch.get_rng_state(), global_state), "torch's own random state must stay as it was"
    assert not network.training
    assert list(network.state_dict()) == list(STATE_KEYS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        output = network(torch.randn(*zoo.input_shape(name), generator=generator))
    assert 0.3 < output.std() < 3.0
    assert output.abs().max() < 10.0


def test_the_tests_cover_the_zoo() -> None:
    assert zoo.names() == tuple(PARAMETERS) == tuple(STATE_KEYS)


def test_activations_stay_near_one_at_every_depth() -> None:
    stds: list[float] = []
    network = zoo.create("resnet56_cifar", seed=3)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _args, output: stds.append(output.std().item()))
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(4)))
    assert len(stds) == 55
    assert min(stds) > 0.4 and max(stds) < 2.5


def test_resnet50_strides_in_the_3x3() -> None:
    block = zoo.create("resnet50").layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_batch_norms_differ_from_the_identity() -> None:
    norm = zoo.create("resnet20_cifar").bn1
    assert norm.running_mean.abs().max() > 0
    assert norm.running_var.min() >= 0.5 and norm.running_var.max() <= 1.5
    assert norm.weight.std() > 0.1


def test_a_seed_is_a_network() -> None:
    first, same, other = (zoo.create("resnet20_cifar", seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_num_classes_sizes_the_head() -> None:
    assert zoo.create("resnet18_cifar", num_classes=100).fc.out_features == 100
