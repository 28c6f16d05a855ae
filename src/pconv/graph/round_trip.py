"""A pruned torch module to an ONNX file that carries its sparsity map, and its weights back into torch.

    module, map --export--> file.onnx (zeros, map in its metadata) --load_weights--> module, map --prune(keep)--> ...

Nothing is filled in on the way: the zeros are checked against the map in both directions.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..sparsity import SparsityMap
from .load import load
from .prune import layer_weights, read_sparsity, save, write_sparsity
from .shapes import Inputs
from .torch_export import TURNED_KEY
from .torch_export import export as export_module

if TYPE_CHECKING:
    from torch import nn

COUNTERS = ("num_batches_tracked",)  # what a file need not have: it changes no answer


def export(
    module: "nn.Module",
    path: str | os.PathLike[str],
    inputs: Inputs,
    sparsity: SparsityMap | None = None,
    fold: bool = True,
) -> Path:
    """Write a module as an ONNX file, with its sparsity map in the metadata.

        pconv.export(module, "net.onnx", (1, 3, 32, 32), sparsity)

    `sparsity` is what pruning returned; without it the map is read off the zeros. With `fold=False` batch norms stay
    apart, so that `load_weights` can read the file back into a module; it compiles to the same.

    Raises: ModelError when the module cannot be exported, or a weight that the map calls pruned is not zero; BuildError
    when the file cannot be written.
    """
    model = load(module, inputs=inputs) if fold else load(export_module(module, inputs, fold=False))
    weights = layer_weights(model)
    found = SparsityMap.detect(weights) if sparsity is None else sparsity
    found.check(weights, balance=False)
    write_sparsity(model, found)
    save(model, path)
    return Path(path)


def load_weights(module: "nn.Module", path: str | os.PathLike[str]) -> SparsityMap:
    """Load the weights of a file that `export(..., fold=False)` wrote into a module, and return its sparsity map.

        sparsity = pconv.load_weights(module, "net.onnx")
        pruner = pconv.prune(module, method="keep", sparsity=sparsity)

    Raises: ModelError when the file lacks a parameter, holds another shape, or a pruned weight that is not zero; the
    module is then as it was.
    """
    import torch

    from ..wrappers import first_names, unwrap

    model, module = load(path), unwrap(module)
    found = {
        name: _as_torch_reads(value.const_value.numpy())
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    turned = json.loads(model.metadata_props.get(TURNED_KEY, "[]"))
    found |= {name: np.ascontiguousarray(found[name].T) for name in turned if name in found}
    found = _under_all_names(found, first_names(module))
    state = module.state_dict()
    for name, tensor in state.items():
        if name not in found and name.endswith(COUNTERS):
            continue
        if not isinstance(tensor, torch.Tensor):
            raise ModelError(
                f"{path}: {name} of this {type(module).__name__} is a {type(tensor).__name__}, which ONNX does not "
                "hold; allowed are modules whose state is tensors. Use torch.save."
            )
        if name not in found or found[name].shape != tuple(tensor.shape):
            shown = list(found[name].shape) if name in found else "nothing"
            raise ModelError(
                f"{path}: {name} is {list(tensor.shape)} in this {type(module).__name__}, the file has {shown}; "
                "allowed is a file of the same network from pconv.export(..., fold=False). "
                "save_sparse keeps what torch's exporter folds, such as GroupNorm and PReLU."
            )
    weights = layer_weights(model)
    sparsity = read_sparsity(model) or SparsityMap.detect(weights)
    sparsity.check(weights, balance=False)
    module.load_state_dict({n: torch.from_numpy(found[n]) if n in found else t for n, t in state.items()})
    return sparsity


def _under_all_names(found: Mapping[str, NDArray[Any]], first: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Give what the file has of a tensor that has several names here under each of them."""
    known = {first[name]: array for name, array in found.items() if name in first}
    return {name: known[key] for name, key in first.items() if key in known} | dict(found)


def _as_torch_reads(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array; types that numpy itself lacks, such as bfloat16, become float32, which holds all their values."""
    return np.array(array, np.float32 if array.dtype.kind == "V" else None)
