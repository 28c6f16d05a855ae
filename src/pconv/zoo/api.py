"""What a caller does with the zoo: create a network, ask for its input, write it as ONNX."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pconv.errors import ModelError
from pconv.extras import require_torch
from pconv.zoo.table import Shape, find

if TYPE_CHECKING:
    import torch

    Weights = str | Path | Mapping[str, torch.Tensor]


def input_shape(name: str) -> Shape:
    """Say what a network reads, as (n, c, h, w) with n = 1."""
    return find(name).input_shape


def create(
    name: str, *, seed: int = 0, weights: Weights | None = None, num_classes: int | None = None
) -> torch.nn.Module:
    """Build a network in eval mode, with random weights from `seed` or with those given.

    `weights` is a state dict or a file that holds one. torch's own random state stays as it was.

    Raises: ModelError for an unknown name, for weights that do not fit, and for `num_classes` where the
    network does not classify; PconvError when torch is missing.
    """
    network = find(name)
    if num_classes is not None and network.num_classes is None:
        raise ModelError(
            f"{name}: num_classes={num_classes}, but this network does not classify; leave it out."
        )
    if num_classes is not None and num_classes < 1:
        raise ModelError(f"{name}: num_classes={num_classes} is not possible; allowed 1 and more.")
    require_torch(f"zoo network {name}")
    import torch

    from pconv.zoo.init import randomise
    from pconv.zoo.weights import load_weights

    family = importlib.import_module(f"pconv.zoo.{network.family}")
    with torch.device("meta"):  # no default initialisation: it is slow and draws from the global generator
        module: torch.nn.Module = family.build(num_classes or network.num_classes, **network.options)
    module.to_empty(device="cpu").eval()
    for buffer in module.buffers():
        buffer.zero_()
    if weights is None:
        randomise(module, network.input_shape, seed)
    else:
        load_weights(name, module, weights)
    return module


def to_onnx(
    name: str,
    path: str | Path,
    seed: int = 0,
    *,
    weights: Weights | None = None,
    num_classes: int | None = None,
    shape: Shape | None = None,
) -> Path:
    """Write a network as an ONNX file for inputs of `shape` (by default the zoo's own), and return its path.

    The file appears whole or not at all. Above 2 GiB, ONNX's limit, the weights stand beside it.

    Raises: as `create` does; BuildError when the file cannot be written.
    """
    module = create(name, seed=seed, weights=weights, num_classes=num_classes)
    from pconv.graph import load
    from pconv.graph.prune import save

    model = load(module, inputs=shape or input_shape(name))
    model.graph.name = name
    save(model, path)
    return Path(path)
