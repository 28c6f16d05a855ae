"""A model that says how much each layer's output would change if its weights were pruned.

    x --> Conv(W) --> y ...        x --> Conv(W)        --> y --> sum of squares --> output 2 i + 1
                                   x --> Conv(W pruned off) ----> sum of squares --> output 2 i

A convolution is linear in its weights: what the zeroed ones contribute is the error of pruning them. Every layer
is probed alone, on the inputs that the dense network gives it. Refuses nothing: any engine runs the result.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .prune import Layer, find_layers


def probe_model(model: ir.Model, masks: Mapping[str, NDArray[np.bool_]]) -> tuple[ir.Model, list[str]]:
    """Make the probe of a model; the one that was given stays as it is.

    Shapes: masks as the layers' weights, True = kept
    Returns: the probe, whose outputs are scalars in pairs (energy of the error, energy of the dense output), and the
    layers that they belong to: those of `masks` that lose anything.
    """
    probe: ir.Model = model.clone()
    outputs: list[ir.Value] = []
    names: list[str] = []
    for layer in find_layers(probe):
        if layer.name in masks and not masks[layer.name].all():
            outputs += _probe_layer(probe.graph, layer, masks[layer.name], len(names))
            names.append(layer.name)
    probe.graph.outputs.clear()
    probe.graph.outputs.extend(outputs)
    return probe, names


def _probe_layer(
    graph: ir.Graph, layer: Layer, mask: NDArray[np.bool_], number: int
) -> tuple[ir.Value, ir.Value]:
    node, weights = layer.node, layer.read()
    lost = np.where(mask, np.zeros((), weights.dtype), weights)
    stored = ir.Tensor(np.ascontiguousarray(lost.T if layer.transposed else lost))
    name = f"pconv.probe.{number}"
    weight = ir.Value(
        name=f"{name}.lost", const_value=stored, shape=stored.shape, type=ir.TensorType(stored.dtype)
    )
    graph.register_initializer(weight)
    kept_attributes = [a for a in node.attributes.values() if a.name != "beta"]
    error = ir.Node(node.domain, node.op_type, [node.inputs[0], weight], kept_attributes, name=f"{name}.node")
    energies = (_energy(error.outputs[0], f"{name}.error"), _energy(node.outputs[0], f"{name}.dense"))
    graph.insert_after(node, [error, *energies])
    error.outputs[0].name = f"{name}.change"
    return energies[0].outputs[0], energies[1].outputs[0]


def _energy(value: ir.Value, name: str) -> ir.Node:
    node = ir.Node("", "ReduceSumSquare", [value], [ir.AttrInt64("keepdims", 0)], name=f"{name}.sum")
    output = node.outputs[0]
    output.name, output.type, output.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
    return node
