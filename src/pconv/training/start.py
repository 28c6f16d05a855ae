"""What a run begins with: the network with its weights, its masks, and the loss it is trained by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pconv import zoo
from pconv.calibration import enough_images
from pconv.errors import ModelError, RecipeError
from pconv.graph.round_trip import load_weights
from pconv.pruning import Distillation, Pruner, load_sparse, post_train, prune
from pconv.pruning.layers import describe_layers, find_layers
from pconv.recipe import Recipe, plan_layers
from pconv.sparsity import SparsityMap
from pconv.training.data import Draw, Parts
from pconv.training.distributed import ALONE
from pconv.training.init import initialise
from pconv.training.loop import Objective
from pconv.training.settings import Settings

POST = "post"
KEEP = "keep"


@dataclass(frozen=True)
class Teacher:
    """Name a network that teaches: one of the zoo, and the file of its weights."""

    model: str
    weights: str | Path


def make_network(
    model: str, parts: Parts, weights: str | Path | None, seed: int
) -> tuple[nn.Module, SparsityMap | None]:
    """Build a network of the zoo, with new weights or those of a file; and the map of zeros that came with it.

    The file is a state dict, what `save_sparse` wrote, or an ONNX file of `pconv.export(..., fold=False)`.

    Raises: ModelError when there is no such network, the weights do not fit, or it cannot read images of that size.
    """
    module, sparsity = _build(model, len(parts.classes), weights, seed)
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(parts.shape))
    except RuntimeError as error:
        own = zoo.input_shape(model)[2]
        raise ModelError(
            f"{model}: images of {parts.shape[2]}x{parts.shape[3]} ({parts.name}) do not fit it; it was made for "
            f"{own}x{own}. Give --image-size {own} for pictures from files; for CIFAR-10 take a network for 32x32, "
            "such as resnet20_cifar."
        ) from error
    return module, sparsity


def _build(
    model: str, classes: int, weights: str | Path | None, seed: int
) -> tuple[nn.Module, SparsityMap | None]:
    suffix = "" if weights is None else Path(weights).suffix
    if weights is None or suffix in (".safetensors", ".onnx"):
        module = zoo.create(model, num_classes=classes)
        initialise(module, seed)
        if weights is None:
            return module, None
        return module, (load_weights if suffix == ".onnx" else load_sparse)(module, weights)
    return zoo.create(model, weights=weights, num_classes=classes), None


def make_pruner(
    module: nn.Module,
    recipe: Recipe | None,
    method: str,
    steps: int,
    parts: Parts,
    sparsity: SparsityMap | None,
    masks: Mapping[str, Tensor] | None = None,
) -> Pruner:
    """Put masks on a network: by a method of `pconv.pruning`, or "post", post-training pruning that then holds.

    "keep" takes the zeros that are there, and no recipe. `masks` are those of a checkpoint that is about to be loaded:
    "post" takes them, and does its work no second time.

    Raises: RecipeError when the recipe or the method does not fit, or it prunes nothing; ModelError when weights cannot
    be pruned.
    """
    if method != KEEP:
        _require_pruning(module, recipe or Recipe())
    if method == POST and masks is not None:
        sparsity = _zero(module, masks)
    elif method == POST:
        rows = enough_images(len(parts.train), math.prod(parts.shape[2:]))
        ((images, _),) = parts.train.batches([Draw(rows)], torch.device("cpu"), ALONE)
        sparsity = post_train(module, images.contiguous(), recipe)
    if method in (POST, KEEP):
        return prune(module, recipe, method=KEEP, steps=steps, sparsity=sparsity)
    return prune(module, recipe, method=method, steps=steps)


def _require_pruning(module: nn.Module, recipe: Recipe) -> None:
    """Refuse a recipe that leaves every layer as it is: its run would seem pruned, and be dense."""
    rules = plan_layers(recipe, describe_layers(find_layers(module)))
    if all(rule.dense for rule in rules.values()):
        raise RecipeError(
            f"recipe: it leaves all {len(rules)} layers dense, compression_rate {recipe.compression_rate:g}; allowed "
            "is a rate above 1 for a layer that is not excluded. To train dense, leave the recipe and its options out."
        )


def _zero(module: nn.Module, masks: Mapping[str, Tensor]) -> SparsityMap:
    """Zero the weights outside of masks, in place."""
    layers = find_layers(module)
    kept = {name: np.ones(layer.weight.shape, bool) for name, layer in layers.items()}
    with torch.no_grad():
        for name, mask in masks.items():
            layers[name].weight.mul_(mask)
            kept[name] = mask.numpy()
    return SparsityMap.detect(kept)


def make_teacher(dense: nn.Module, module: nn.Module, label_smoothing: float = 0.0) -> Distillation:
    """Let a network teach another one of its kind: its outputs and its blocks'."""
    dense = dense.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Distillation(dense, student=module, label_smoothing=label_smoothing)


def load_teacher(
    teacher: Teacher, parts: Parts, device: torch.device, label_smoothing: float = 0.0
) -> Distillation:
    """Let a network of any kind teach: its outputs alone.

    Raises: ModelError as `make_network` does.
    """
    module, _ = make_network(teacher.model, parts, teacher.weights, seed=0)
    module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Distillation(module, label_smoothing=label_smoothing)


def make_objective(teacher: Distillation | None, settings: Settings) -> Objective:
    """Make the loss: the teacher's, or cross entropy where there is none."""
    if teacher is not None:
        return lambda logits, labels, images: teacher(logits, images, labels)
    return lambda logits, labels, images: functional.cross_entropy(
        logits, labels, label_smoothing=settings.label_smoothing
    )


def is_ready(pruner: Pruner) -> bool:
    """Say whether the masks hold, as sparse as the recipe asks: before that, a network is no candidate."""
    layers = pruner.sparsity().layers
    sparse = all(
        layers[name].compression_rate > 0.999 * pruner.rules[name].compression_rate for name in layers
    )
    return sparse and pruner.settled()
