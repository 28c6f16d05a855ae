"""The layers of a torch module that a recipe can speak of, and which of them cannot be pruned.

A layer is named as its module is (`layer1.0.conv1`), which is its weight's name without ".weight"; a module that is
itself the layer has no name, so its weight's stands for it.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from pconv.errors import ModelError
from pconv.recipe import FIRST_MAX_CHANNELS, Kind, LayerInfo, leave_dense

from .memory import Place, owners, places_of

Layer = nn.Conv2d | nn.Linear
WEIGHT = "weight"
_FORWARDS = {"forward", "_conv_forward"}


def find_layers(module: nn.Module) -> dict[str, Layer]:
    """Collect every convolution and fully connected layer, in module order; a module used twice counts once.

    Raises: ModelError when there is none, or one has no weights yet.
    """
    layers: dict[str, Layer] = {}
    for path, child in module.named_modules():
        if isinstance(child, Layer):
            name = path or WEIGHT
            if isinstance(child.weight, UninitializedParameter):
                raise ModelError(
                    f"{name}: its weights have no shape yet. Run the module once before pruning."
                )
            layers[name] = child
    if not layers:
        raise ModelError(
            f"{type(module).__name__}: has no Conv2d or Linear layer; allowed are modules with some"
        )
    return layers


def describe_layers(layers: Mapping[str, Layer]) -> list[LayerInfo]:
    """Describe each layer for a recipe; the first convolution that reads an image, no depthwise one, is the first."""
    images = (
        name
        for name, layer in layers.items()
        if isinstance(layer, nn.Conv2d) and _kind(layer) == "conv" and layer.in_channels <= FIRST_MAX_CHANNELS
    )
    first = next(images, None)
    return [
        LayerInfo(
            name,
            _kind(layer),
            tuple(layer.weight.shape),
            is_first=name == first,
            conv_groups=1 if isinstance(layer, nn.Linear) else layer.groups,
        )
        for name, layer in layers.items()
    ]


def require_numbers(layers: Mapping[str, Layer]) -> None:
    """Refuse weights whose numbers cannot be read here.

    Raises: ModelError for one on the meta device, or in a tensor of another class.
    """
    for name, layer in layers.items():
        weight = layer.weight.detach()
        if weight.is_meta:
            raise ModelError(
                f"{name}: its weights are on the meta device, without values. Load them before pruning."
            )
        if type(weight) is not Tensor:
            raise ModelError(
                f"{name}: its weights are a {type(weight).__name__}; allowed are plain tensors. "
                "Finish pruning before they are sharded or quantised."
            )


def require_prunable(module: nn.Module, layers: Mapping[str, Layer], pruned: Iterable[str]) -> None:
    """Refuse weights to prune that a mask cannot own alone.

    Raises: ModelError for a weight that two modules share, whole or in part, or that is computed from something else.
    """
    places = places_of(module)
    for name in pruned:
        if reason := _not_its_own(layers[name], places):
            raise ModelError(f"{name}: {reason} {leave_dense(name)}")


def with_own_forward(layers: Mapping[str, Layer], pruned: Iterable[str]) -> dict[str, str]:
    """Name the layers to prune whose forward is not torch's, and their classes.

    Such a forward may pad in its own way, or multiply by weights that it computes, where zeros do not stay zeros.
    """
    return {name: type(layers[name]).__name__ for name in pruned if not runs_as_torch(layers[name])}


def runs_as_torch(layer: Layer) -> bool:
    """Say whether a layer computes as torch's do: neither it nor a class that is not torch's overrides how."""
    kind, base = type(layer), nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
    if vars(layer).keys() & _FORWARDS:
        return False
    inherited = all(getattr(kind, name, None) is getattr(base, name, None) for name in _FORWARDS)
    return inherited or kind.__module__.startswith("torch.")  # torch's QAT layers keep zeros


def own_layers(module: nn.Module, layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """Give the layers whose weight is theirs alone: one may write into it, and nothing else changes."""
    places = places_of(module)
    return {name: layer for name, layer in layers.items() if not _not_its_own(layer, places)}


def own_biases(module: nn.Module, layers: Mapping[str, Layer]) -> set[str]:
    """Name the layers whose bias is theirs alone."""
    places = places_of(module)
    return {
        name
        for name, layer in layers.items()
        if isinstance(layer.bias, nn.Parameter) and len(owners(layer.bias, places)) == 1
    }


def _not_its_own(layer: Layer, places: list[Place]) -> str | None:
    """Say why a layer does not own its weight alone."""
    if parametrize.is_parametrized(layer, WEIGHT):
        return "its weight is parametrized already; remove that first."
    if not isinstance(layer.weight, nn.Parameter):
        return "its weight is computed, not a parameter (weight_norm?)."
    shared = owners(layer.weight, places)
    return f"its weight is shared ({', '.join(shared)}); allowed is one owner." if len(shared) > 1 else None


def _kind(layer: Layer) -> Kind:
    if isinstance(layer, nn.Linear):
        return "fc"
    return "depthwise" if layer.groups == layer.in_channels > 1 else "conv"
