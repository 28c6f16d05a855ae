"""The pruning methods by name: to add one, add its file and a line here."""

import inspect
from typing import Any

from torch import nn

from pconv.errors import ModelError, RecipeError, did_you_mean
from pconv.recipe import Recipe

from .admm import AdmmPruner
from .base import Pruner
from .gradual import GradualPruner
from .keep import KeepPruner
from .magnitude import MagnitudePruner

METHODS: dict[str, type[Pruner]] = {
    "magnitude": MagnitudePruner,
    "gradual": GradualPruner,
    "admm": AdmmPruner,
    "keep": KeepPruner,
}


def prune(
    module: nn.Module,
    recipe: Recipe | None = None,
    method: str = "magnitude",
    steps: int | None = None,
    **options: Any,
) -> Pruner:
    """Prune a module in place, while a training loop of yours goes on.

        pruner = pconv.prune(module, recipe, method="gradual", steps=epochs * len(batches))
        for x, y in batches:
            (loss(module(x), y) + pruner.penalty()).backward()
            optimizer.step()
            pruner.step()
        sparsity = pruner.finish()

    magnitude   at once, by magnitude; training then only repairs. Needs no steps
    gradual     shapes chosen again and again, kernels removed little by little, then held (PCONV)
    admm        pulled toward the nearest legal weights by the penalty, then cut and held (PatDNN)
    keep        the zeros that are there hold: fine-tuning of a pruned module

    `steps` is how many optimiser steps you plan; `options` are those of the method's class in `pconv.pruning`.

    Raises: RecipeError for an unknown method or option, or when the recipe does not fit the module; ModelError when
    it is no module, or its weights cannot be pruned.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"module: a {type(module).__name__}; allowed is a torch.nn.Module. `pconv prune` prunes an ONNX file."
        )
    if not isinstance(recipe, Recipe | None):
        raise RecipeError(
            f"recipe: a {type(recipe).__name__}; allowed is a pconv.Recipe. Recipe.load(path) reads a file."
        )
    if method not in METHODS:
        hint = f"{did_you_mean(method, METHODS)} ".lstrip()
        raise RecipeError(f'method "{method}" is unknown; {hint}allowed: {", ".join(METHODS)}')
    make = METHODS[method]
    known = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise RecipeError(
                f'{option}: method "{method}" has no such option; allowed: {", ".join(known) or "none"}'
            )
    pruner = make(module, recipe or Recipe(), steps, **options)
    pruner.prepare()
    return pruner
