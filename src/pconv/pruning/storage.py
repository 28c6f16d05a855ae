"""Pruned state dicts, small on disk: kept values and an index shared by all filters that are alike (FKW-like).

    layer.weight [oc, ic, kh, kw]  -->  layer.weight/values    kept weights, filter by filter, in their own type
                                        layer.weight/filters   [oc]  which set of kernels a filter has
                                        layer.weight/offsets   [sets + 1]  where each set's kernels start
                                        layer.weight/channels  input channel of each kernel
                                        layer.weight/patterns  shape of each kernel, a number in ...
                                        layer.weight/shapes    ... this list of bit masks

A safetensors file: every other tensor of the module stands in it as it is, under its own name. Filters of one group
share a set, so the index is paid once a group.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pconv.errors import ModelError
from pconv.extras import require_safetensors
from pconv.files import write_atomically
from pconv.sparsity import LayerSparsity, SparsityMap
from pconv.wrappers import unwrap

from .base import as_array
from .layers import WEIGHT, find_layers
from .mask import Mask

METADATA_KEY = "pconv.sparse"
FORMAT = 1
PARTS = ("values", "filters", "offsets", "channels", "patterns", "shapes")


def save_sparse(module: nn.Module, path: str | os.PathLike[str], sparsity: SparsityMap | None = None) -> Path:
    """Write a finished module's state dict with its pruned weights packed; `load_sparse` reads it.

    `sparsity`, the map that pruning returned, says what is pruned; without it every zero counts.

    Raises: ModelError when the module still carries masks, has a state that is no tensor, or a weight that the map
    calls pruned is not zero; BuildError when the file cannot be written; PconvError when safetensors is missing.
    """
    require_safetensors("save_sparse")
    from safetensors.torch import save

    module = unwrap(module)
    state = {name: tensor.detach().cpu() for name, tensor in _state_of(module, "save_sparse").items()}
    if any(isinstance(child, Mask) for child in module.modules()):
        raise ModelError("save_sparse: the module still carries masks; call the pruner's finish() first.")
    layers = find_layers(module)
    weights = {name: as_array(layer.weight) for name, layer in layers.items()}
    found = SparsityMap.detect(weights) if sparsity is None else sparsity
    found.check(weights, balance=False)
    tensors, shapes = dict(state), {}
    for name, layer in found.layers.items():
        if layer.density == 1.0:  # it need not be a layer here: the map of an ONNX file names every product
            continue
        key = WEIGHT if layers[name] is module else f"{name}.{WEIGHT}"
        if key in state:  # a computed weight is not
            shapes[key] = list(layer.shape)
            tensors |= {f"{key}/{part}": tensor for part, tensor in _pack(tensors.pop(key), layer).items()}
    metadata = {METADATA_KEY: json.dumps({"format": FORMAT, "layers": shapes})}
    packed = save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata)
    return write_atomically(Path(path), packed, "Choose another place.")


def load_sparse(module: nn.Module, path: str | os.PathLike[str]) -> SparsityMap:
    """Load what `save_sparse` wrote into a module of the same network, and return the map of its zeros.

    Go on training with `pconv.prune(module, method="keep", sparsity=map)`.

    Raises: ModelError when the file cannot be read, is damaged, or is another network's; the module is then as it was.
    """
    state, sparsity = read_sparse(path)
    module = unwrap(module)
    mine = _state_of(module, "load_sparse")
    here, there = ({key: t.shape for key, t in tensors.items()} for tensors in (mine, state))
    if odd := sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key)):
        raise ModelError(
            f"{path}: {len(odd)} tensors are not those of this {type(module).__name__}, the first is {odd[0]}; "
            "allowed is the network that was saved."
        )
    module.load_state_dict(state)
    every = {
        name: np.broadcast_to(np.True_, layer.weight.shape) for name, layer in find_layers(module).items()
    }
    return SparsityMap({**SparsityMap.detect(every).layers, **sparsity.layers})


def read_sparse(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], SparsityMap]:
    """Read a file of `save_sparse` as an ordinary state dict, with the map of the packed layers.

    Raises: ModelError when the file cannot be read or is damaged.
    """
    require_safetensors("load_sparse")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']}; allowed {FORMAT}")
        layers = {}
        for key, shape in metadata["layers"].items():
            parts = {part: state.pop(f"{key}/{part}") for part in PARTS}
            state[key], layers[key] = _unpack(parts, tuple(shape))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise ModelError(
            f"{path}: not a file of save_sparse, or damaged ({error}). Save it again."
        ) from error
    return state, SparsityMap({key.removesuffix(f".{WEIGHT}"): layer for key, layer in layers.items()})


def _state_of(module: nn.Module, what: str) -> dict[str, Tensor]:
    """Give a module's state dict. Raises: ModelError where a part keeps more in it than tensors."""
    state: dict[str, Any] = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"{what}: {name} of this {type(module).__name__} is a {type(value).__name__}; allowed are tensors. "
                "Give it as one from get_extra_state(), or use torch.save."
            )
    return state


def _pack(weight: Tensor, layer: LayerSparsity) -> dict[str, Tensor]:
    sets, filters = np.unique(layer.bits, axis=0, return_inverse=True)
    rows, channels = np.nonzero(sets)
    shapes, patterns = np.unique(sets[rows, channels], return_inverse=True)
    offsets = np.searchsorted(rows, np.arange(len(sets) + 1))
    return {
        "values": weight[torch.from_numpy(layer.mask())],
        "filters": _smallest(filters.ravel()),
        "offsets": _smallest(offsets),
        "channels": _smallest(channels),
        "patterns": _smallest(patterns.ravel()),
        "shapes": torch.from_numpy(shapes.view(f"i{shapes.itemsize}").astype(np.int64)),
    }


def _unpack(parts: Mapping[str, Tensor], shape: tuple[int, ...]) -> tuple[Tensor, LayerSparsity]:
    arrays = {part: parts[part].numpy().astype(np.int64) for part in PARTS[1:]}
    blank = LayerSparsity.detect(np.zeros(shape, bool))
    kernels = np.diff(arrays["offsets"])
    if len(arrays["filters"]) != shape[0] or (kernels < 0).any() or kernels.sum() != len(arrays["channels"]):
        raise ValueError("its index does not fit its layers")
    sets = np.zeros((len(kernels), shape[1]), blank.bits.dtype)
    rows = np.repeat(np.arange(len(kernels)), kernels)
    sets[rows, arrays["channels"]] = arrays["shapes"].astype(blank.bits.dtype)[arrays["patterns"]]
    layer = LayerSparsity(shape, sets[arrays["filters"]])
    if layer.kept_elems != parts["values"].numel() or math.prod(shape) < layer.kept_elems:
        raise ValueError("its values do not fit its index")
    weight = torch.zeros(shape, dtype=parts["values"].dtype)
    weight[torch.from_numpy(layer.mask())] = parts["values"]
    return weight, layer


def _smallest(indices: NDArray[Any]) -> Tensor:
    """Store indices in as few bytes as their largest needs."""
    top = int(indices.max(initial=0))
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32) if top <= np.iinfo(kind).max)
    return torch.from_numpy(np.ascontiguousarray(indices.astype(kind)))
