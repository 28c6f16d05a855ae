"""Post-training pruning of ONNX models: second-order choice and least squares, from images, without torch.

    images --> [pruned] --> Conv --> y         next to       images --> [dense] --> Conv --> y wanted

ONNX Runtime runs both networks piece by piece; `calibration` holds the mathematics. Where a layer's output is
added to another value, the layer also makes up for that value's error. Refuses models with several inputs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..calibration import Geometry, enough_images, sweep
from ..errors import InputError, UnsupportedError
from ..progress import Progress
from ..recipe import Recipe, leave_dense
from ..sparsity import SparsityMap
from .execution import Execution
from .naming import unique
from .prune import Layer, has_one_reader, prepare, write_sparsity

Array = NDArray[Any]

BATCH = 32  # where the model leaves the number of images free


def prune_calibrated(
    model: ir.Model,
    images: Array,
    recipe: Recipe | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[ir.Model, SparsityMap]:
    """Prune by second order and refit what is kept; the model that was given stays as it is.

    Shapes: images [n, c, h, w] float32, as the model reads them
    Returns: the pruned model with the map in its metadata, and the map.
    Raises: RecipeError when the recipe does not fit the model; ModelError when values are not finite or ONNX Runtime
    cannot run the model; UnsupportedError for a layer whose refit is not known; InputError for images of another
    shape; PconvError when ONNX Runtime is missing.
    """
    pruned, layers, rules = prepare(model, recipe)
    batches = _batches(model, images)
    proto = ir.to_proto(ir.external_data.load_to_model(model.clone()))
    run = _Run(Execution(proto, batches), Execution(proto, batches))
    # A layer whose weight others read as well stays dense, and as it is.
    sites = [
        _Site(layer, run, rules[layer.name].dense)
        for layer in layers
        if not rules[layer.name].dense or (has_one_reader(layer) and _is_plain(layer.node))
    ]
    run.waiting = [site.output for site in sites]
    weights = {layer.name: layer.read() for layer in layers}
    masks = sweep(_in_turn(sites, run), weights, rules, progress)
    whole = {name: np.ones(array.shape, bool) for name, array in weights.items() if name not in masks}
    sparsity = SparsityMap.detect({name: (masks | whole)[name] for name in weights})
    write_sparsity(pruned, sparsity)
    return pruned, sparsity


def _batches(model: ir.Model, images: Array) -> list[Array]:
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    if len(inputs) != 1:
        raise UnsupportedError(
            f"the model has {len(inputs)} inputs; calibration allows one. Prune it by magnitude, without --calibrate."
        )
    shape = inputs[0].shape
    known = [None] * images.ndim if shape is None else [n if isinstance(n, int) else None for n in shape]
    batch = known[0] or None
    fits = len(known) == images.ndim and all(
        k in (None, n) for k, n in zip(known[1:], images.shape[1:], strict=True)
    )
    if not fits or len(images) < (batch or 1):
        wanted = "x".join("?" if k is None else str(k) for k in known[1:])
        raise InputError(
            f"calibration images of shape {list(images.shape)}; allowed are at least {batch or 1} of {wanted}. "
            "Give --size, or other images."
        )
    size = batch or BATCH
    rows = enough_images(len(images), images[0, 0].size)
    if batch:
        rows = rows[: len(rows) - len(rows) % size] if len(rows) >= size else np.arange(size)
    images = np.ascontiguousarray(images[rows], np.float32)
    return [images[i : i + size] for i in range(0, len(images), size)]


class _Run:
    """The pruned and the dense network, as far as they have run."""

    def __init__(self, pruned: Execution, dense: Execution) -> None:
        self.pruned, self.dense = pruned, dense
        self.waiting: list[str] = []  # outputs of layers that are not pruned yet

    def error(self, name: str) -> Array | None:
        """Give dense less pruned of a value; None while layers before it are still to be pruned."""
        if self.pruned.needs(name) & set(self.waiting):
            return None
        return join(self.dense.at(name)) - join(self.pruned.at(name))


class _Site:
    """One layer of the ONNX model."""

    geometry = Geometry()

    def __init__(self, layer: Layer, run: _Run, dense: bool) -> None:
        if not dense and not _is_plain(layer.node):
            raise UnsupportedError(
                f"{layer.name} ({layer.node.op_type}): alpha, beta, transA or its bias is unusual; calibration allows "
                f"x W + b with a constant b or none. {leave_dense(layer.name)}"
            )
        self.name, self.weights = layer.name, layer.read()
        self.has_bias = layer.node.op_type != "MatMul"
        self.output = _name(layer.node.outputs[0])
        self._layer, self._run = layer, run

    def observe(self) -> tuple[Array, Array]:
        """Run both networks up to here."""
        node = self._layer.node
        x = join(self._run.pruned.at(_name(node.inputs[0])))
        wanted = join(self._run.dense.at(self.output))
        other = _added(node)
        error = None if other is None else self._run.error(_name(other))
        if error is not None and error.shape == wanted.shape:
            wanted = wanted + error
        if node.op_type == "Conv":
            self.geometry = _geometry(node, self.weights, x, wanted)
        return x, wanted

    def replace(self, weights: Array, bias: Array | None) -> None:
        """Write into the model, and into what runs."""
        layer, run = self._layer, self._run.pruned
        layer.write(weights)
        run.replace(_name(layer.node.inputs[1]), layer.stored())
        if bias is not None:
            name = _set_bias(layer, bias)
            run.replace(name, bias.astype(layer.stored().dtype))
            run.connect(self.output, 2, name)


def _in_turn(sites: list[_Site], run: _Run) -> Iterator[_Site]:
    for site in sites:
        yield site
        run.waiting.remove(site.output)


def join(arrays: list[Array]) -> Array:
    """Put the batches of a value together, in single precision."""
    return np.concatenate([array.astype(np.float32, copy=False) for array in arrays])


def _is_plain(node: ir.Node) -> bool:
    """Say whether a layer computes x W, or x W + b with a constant b or none."""
    if node.op_type == "MatMul":
        return True
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        constant = ir.convenience.get_const_tensor(bias)
        if constant is None or len(constant.shape) != 1:
            return False
    scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return scales == [1.0, 1.0] and not node.attributes.get_int("transA", 0)


def _set_bias(layer: Layer, bias: Array) -> str:
    """Give a layer's node this constant as its third input, under a name that nothing else has."""
    graph, node = layer.node.graph, layer.node
    assert graph is not None
    name = unique(f"{layer.name}.refitted_bias", _value_names(graph))
    tensor = ir.Tensor(bias.astype(layer.stored().dtype), name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    old = node.inputs[2] if len(node.inputs) > 2 else None
    graph.register_initializer(value)
    node.resize_inputs(3)
    node.replace_input_with(2, value)
    if old is not None and old.is_initializer() and not old.uses() and old.name is not None:
        graph.initializers.pop(old.name)
    return name


def _value_names(graph: ir.Graph) -> set[str]:
    values = [*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    return {value.name for value in values if value.name is not None}


def _added(node: ir.Node) -> ir.Value | None:
    """Find what a node's output is added to."""
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add":
        return None
    others = [value for value in uses[0].node.inputs if value is not node.outputs[0]]
    if len(others) != 1 or others[0] is None or ir.convenience.get_const_tensor(others[0]) is not None:
        return None
    return others[0]


def _geometry(node: ir.Node, weights: Array, x: Array, y: Array) -> Geometry:
    kernel = (weights.shape[2], weights.shape[3])
    strides = _pair(node, "strides")
    dilations = _pair(node, "dilations")
    pads = tuple(node.attributes.get_ints("pads", (0, 0, 0, 0)))[:2]
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        missing = [
            max(0, (y.shape[a + 2] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 - x.shape[a + 2])
            for a in (0, 1)
        ]
        pads = tuple((m + (mode == "SAME_LOWER")) // 2 for m in missing)
    return Geometry(kernel, strides, (pads[0], pads[1]), dilations, x.shape[1] // weights.shape[1])


def _pair(node: ir.Node, name: str) -> tuple[int, int]:
    first, second = node.attributes.get_ints(name, (1, 1))
    return first, second


def _name(value: ir.Value | None) -> str:
    assert value is not None and value.name is not None
    return value.name
