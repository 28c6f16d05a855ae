"""Pruning of ONNX models by magnitude, without torch, and the sparsity map in a model's metadata.

    Conv(x, W)            -->  Conv(x, W with zeros)        model.metadata_props["pconv.sparsity"] = the map
    Gemm(x, W), MatMul

A layer is named after its weight (`layer1.0.conv1.weight` is `layer1.0.conv1`, as in torch), else after its
node; a recipe may use either. Layers are [oc, ic, kh, kw] or [out, in] here, whichever way round a matrix is
stored. Refuses to prune a weight that something else reads as well.

Weights are ranked as they stand in the file. Where an exporter has folded batch norms into them, groups of
filters may therefore keep other kernels than in the torch module; single filters keep the same.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..errors import ModelError
from ..files import destination, make_way, unwritable
from ..masks import magnitude_masks
from ..recipe import FIRST_MAX_CHANNELS, Kind, LayerInfo, LayerRule, Recipe, leave_dense, plan_layers
from ..sparsity import METADATA_KEY, SparsityMap
from .naming import node_names, weight_of
from .shapes import FLOATS

_ADVICE = "Choose another place."
_PROTOBUF_LIMIT_BYTES = (
    2**31 - 2**24
)  # a protobuf message ends at 2 GiB; the rest is for everything but weights


@dataclass(frozen=True)
class Layer:
    """Hold one layer of a model: its description, the constant that its weights live in, and its node."""

    info: LayerInfo
    weight: ir.Value
    transposed: bool  # stored [in, out]
    node: ir.Node

    @property
    def name(self) -> str:
        """Give the name in recipes and maps."""
        return self.info.name

    def read(self) -> NDArray[Any]:
        """Give the weights, filters first. 16-bit floats come as float32."""
        array = _tensor(self.weight).numpy()
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        return array.T if self.transposed else array

    def apply(self, mask: NDArray[np.bool_]) -> None:
        """Zero the weights outside the mask, in their own type."""
        old = _tensor(self.weight).numpy()
        kept = mask.T if self.transposed else mask
        self._store(np.where(kept, old, np.zeros((), old.dtype)))

    def write(self, weights: NDArray[Any]) -> None:
        """Put in other weights, filters first; they take the old ones' type."""
        self._store((weights.T if self.transposed else weights).astype(_tensor(self.weight).numpy().dtype))

    def stored(self) -> NDArray[Any]:
        """Give the weights as they lie in the file."""
        return _tensor(self.weight).numpy()

    def _store(self, array: NDArray[Any]) -> None:
        old = _tensor(self.weight)
        new = ir.Tensor(np.ascontiguousarray(array), dtype=old.dtype, name=old.name)
        producer = self.weight.producer()
        if producer is not None:
            producer.attributes["value"] = ir.AttrTensor("value", new)
        self.weight.const_value = new


def find_layers(model: ir.Model) -> list[Layer]:
    """Collect the Conv, Gemm and MatMul nodes whose weights are constants, in the order of execution."""
    found = []
    first_seen = False
    names = node_names(model.graph)
    taken = set(names.values())
    for i, (node, name) in enumerate(names.items()):
        weight = _weight(node)
        if weight is None:
            continue
        shape, kind, transposed = _geometry(node, _tensor(weight))
        group = node.attributes.get_int("group", 1)
        is_first = not first_seen and kind == "conv" and shape[1] * group <= FIRST_MAX_CHANNELS
        first_seen |= is_first
        own = node.name or f"{node.op_type}_{i}"
        aliases = () if own in taken else (own,)
        info = LayerInfo(name, kind, shape, is_first, aliases, group)
        found.append(Layer(info, weight, transposed, node))
    return found


def left_whole(model: ir.Model) -> dict[str, str]:
    """Name the convolutions that no recipe reaches, and say what they are instead of 2-D with constant weights."""
    return {
        name: _other_kind(node)
        for node, name in node_names(model.graph).items()
        if node.op_type == "ConvTranspose" or (node.op_type == "Conv" and _weight(node) is None)
    }


def _other_kind(node: ir.Node) -> str:
    weight = weight_of(node)
    tensor = None if weight is None else ir.convenience.get_const_tensor(weight)
    if node.op_type == "ConvTranspose":
        return node.op_type
    return "weights in other types" if tensor is None else f"{len(tensor.shape) - 2}-D"


def layer_weights(model: ir.Model) -> dict[str, NDArray[Any]]:
    """Read the weights of every layer, filters first, by layer name: what `SparsityMap` speaks of."""
    return {layer.name: layer.read() for layer in find_layers(model)}


def prune_model(model: ir.Model, recipe: Recipe | None = None) -> tuple[ir.Model, SparsityMap]:
    """Prune by magnitude; the model that was given stays as it is.

    Returns: the pruned model with the map in its metadata, and the map.
    Raises: RecipeError when the recipe does not fit the model; ModelError when weights are not finite, or one
    that the recipe prunes has another reader.
    """
    pruned, layers, rules = prepare(model, recipe)
    masks = magnitude_masks({layer.name: layer.read() for layer in layers}, rules)
    for layer in layers:
        if not rules[layer.name].dense:
            layer.apply(masks[layer.name])
    sparsity = SparsityMap.detect(masks)
    write_sparsity(pruned, sparsity)
    return pruned, sparsity


def prepare(
    model: ir.Model, recipe: Recipe | None = None
) -> tuple[ir.Model, list[Layer], dict[str, LayerRule]]:
    """Copy a model, find the copy's layers, and say what each of them keeps.

    Raises: RecipeError when the recipe does not fit the model; ModelError when there is nothing to prune, a weight
    that the recipe prunes has another reader, or its filters do not divide into the convolution's groups.
    """
    copied: ir.Model = model.clone()
    layers = find_layers(copied)
    if not layers:
        raise ModelError(
            "the model has no 2-D Conv, Gemm or MatMul with constant float weights; there is nothing to prune"
        )
    rules = plan_layers(recipe or Recipe(), [layer.info for layer in layers])
    for layer in layers:
        if not rules[layer.name].dense:
            _require_one_reader(layer, layers)
            _require_whole_groups(layer.info)
    return copied, layers, rules


def read_sparsity(model: ir.Model) -> SparsityMap | None:
    """Read the map from a model's metadata; None where there is none.

    Raises: ModelError when it is there and damaged.
    """
    text = model.metadata_props.get(METADATA_KEY)
    return None if text is None else SparsityMap.from_json(text)


def broken_promises(model: ir.Model) -> list[str]:
    """List where the weights do not fit the map in the model's metadata; nothing where there is no map."""
    try:
        promised = read_sparsity(model)
    except ModelError as error:
        return [str(error)]
    return [] if promised is None else promised.verify(layer_weights(model), balance=False)


def write_sparsity(model: ir.Model, sparsity: SparsityMap) -> None:
    """Put a map into a model's metadata, in place."""
    model.metadata_props[METADATA_KEY] = sparsity.to_json()


def save(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write a model as one file, or with a `.data` file beside it where protobuf's 2 GiB force that.

    Nothing half-written is left under the given name.

    Raises: BuildError when the file cannot be written.
    """
    target = destination(Path(path), _ADVICE)
    size_bytes = sum(
        value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value
    )
    try:
        make_way(target)
        with TemporaryDirectory(dir=target.parent, prefix=".pconv-") as folder:
            if size_bytes < _PROTOBUF_LIMIT_BYTES:
                ir.save(ir.external_data.load_to_model(model.clone()), Path(folder) / target.name)
            else:
                ir.save(model, Path(folder) / target.name, external_data=f"{target.name}.data")
            # The model last: it names the data.
            for made in sorted(Path(folder).iterdir(), key=lambda made: made.name == target.name):
                os.replace(made, target.parent / made.name)
    except OSError as error:
        raise unwritable(Path(path), error, _ADVICE) from error


def _weight(node: ir.Node) -> ir.Value | None:
    """Find the constant behind a layer's second input; None for every other node."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    value = weight_of(node)
    if value is None or ir.convenience.get_const_tensor(value) is None:
        return None
    tensor = _tensor(value)
    rank = 4 if node.op_type == "Conv" else 2
    return value if len(tensor.shape) == rank and tensor.size and tensor.dtype in FLOATS else None


def _tensor(weight: ir.Value) -> ir.TensorProtocol:
    tensor = ir.convenience.get_const_tensor(weight)
    assert tensor is not None  # `_weight` let only constants through
    return tensor


def _geometry(node: ir.Node, tensor: ir.TensorProtocol) -> tuple[tuple[int, ...], Kind, bool]:
    shape = tuple(tensor.shape.numpy())
    if node.op_type == "Conv":
        depthwise = shape[1] == 1 and node.attributes.get_int("group", 1) > 1
        kind: Kind = "depthwise" if depthwise else "conv"
        return shape, kind, False
    transposed = node.op_type == "MatMul" or not node.attributes.get_int("transB", 0)
    return (shape[::-1] if transposed else shape), "fc", transposed


def has_one_reader(layer: Layer) -> bool:
    """Say whether nothing but the layer reads its weight."""
    return len(list(_readers(layer.weight))) == 1 and not layer.weight.is_graph_output()


def _require_one_reader(layer: Layer, layers: Sequence[Layer]) -> None:
    if not has_one_reader(layer):
        readers = [node.name or node.op_type for node in _readers(layer.weight)]
        sharing = [other.name for other in layers if other.weight is layer.weight]
        raise ModelError(
            f"{layer.name}: its weight {layer.weight.name} is shared ({', '.join(readers)}); "
            f"allowed is one reader. {leave_dense(*sharing)}"
        )


def _require_whole_groups(info: LayerInfo) -> None:
    if info.conv_groups < 1 or info.shape[0] % info.conv_groups:
        raise ModelError(
            f"{info.name}: its {info.shape[0]} filters do not divide into group = {info.conv_groups}; allowed is a "
            "divisor. Export the model again."
        )


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    for node, _ in value.uses():
        if node.op_type == "Identity":
            yield from _readers(node.outputs[0])
        else:
            yield node
