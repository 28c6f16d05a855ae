"""The zoo as data: which networks exist, who builds them, and what they read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pconv.errors import ModelError, did_you_mean

Shape = tuple[int, int, int, int]

IMAGENET: Shape = (1, 3, 224, 224)
CIFAR: Shape = (1, 3, 32, 32)


@dataclass(frozen=True)
class Network:
    """Say which family builds a network, with which options.

    `num_classes` is None for a network that does not classify.
    """

    family: str
    input_shape: Shape
    num_classes: int | None
    options: Mapping[str, object] = field(default_factory=dict)


NETWORKS: dict[str, Network] = {
    "vgg16": Network("vgg", IMAGENET, 1000),
    "vgg16_bn": Network("vgg", IMAGENET, 1000, {"batch_norm": True}),
    "resnet18": Network("resnet", IMAGENET, 1000, {"blocks": (2, 2, 2, 2)}),
    "resnet34": Network("resnet", IMAGENET, 1000, {"blocks": (3, 4, 6, 3)}),
    "resnet50": Network("resnet", IMAGENET, 1000, {"blocks": (3, 4, 6, 3), "bottleneck": True}),
    "mobilenet_v2": Network("mobilenet", IMAGENET, 1000),
    "vgg16_cifar": Network("vgg", CIFAR, 10, {"batch_norm": True, "small": True}),
    "resnet18_cifar": Network("resnet", CIFAR, 10, {"blocks": (2, 2, 2, 2), "small": True}),
    "resnet20_cifar": Network("resnet_cifar", CIFAR, 10, {"blocks": 3}),
    "resnet56_cifar": Network("resnet_cifar", CIFAR, 10, {"blocks": 9}),
    "dncnn": Network("dncnn", (1, 1, 256, 256), None),
}


def names() -> tuple[str, ...]:
    """List the networks that `create` knows."""
    return tuple(NETWORKS)


def find(name: str) -> Network:
    """Look a network up.

    Raises: ModelError for an unknown name, with the nearest known ones.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    hint = did_you_mean(name, NETWORKS) or f"the zoo has {', '.join(NETWORKS)}."
    raise ModelError(f"{name}: no such network in the zoo; {hint}")
