"""Names for nodes: what a person writes in a recipe and reads in a report."""

import re

import onnx_ir as ir

_LAYERS = ("Conv", "Gemm", "MatMul")
_EXPORTED = re.compile(r"^node_(?=.)")  # torch's exporter begins every name with it
_SUFFIX = ".weight"
_LONE = "weight"  # of a module that is itself the layer


def node_names(graph: ir.Graph) -> dict[ir.Node, str]:
    """Choose a name for every node, in their order; no two nodes have the same.

    A layer is called after its weight (`layer1.0.conv1.weight` gives `layer1.0.conv1`), as torch and the
    sparsity map call it; where the weight is named `weight`, as of a module that is itself the layer, it is called
    that. Any other node, and the second user of a weight, has the name in the file, or else operator and number;
    where that is taken, with `_1`, `_2` behind it.
    """
    stems: dict[str, ir.Node] = {}
    for node in graph:
        stem = _stem(node)
        if stem:
            stems.setdefault(stem, node)
    names = {node: stem for stem, node in stems.items()}
    taken = set(stems)
    return {node: names.get(node) or unique(_own_name(node, i), taken) for i, node in enumerate(graph)}


def unique(name: str, taken: set[str]) -> str:
    """Give the name, or the first of `name_1`, `name_2`, ... that is not taken, and take it."""
    candidate, i = name, 1
    while candidate in taken:
        candidate, i = f"{name}_{i}", i + 1
    taken.add(candidate)
    return candidate


def weight_of(node: ir.Node) -> ir.Value | None:
    """Find what a layer's second input is, seen through Identity; None for every other node."""
    if node.op_type not in _LAYERS or len(node.inputs) < 2:
        return None
    value, passed = node.inputs[1], set[ir.Value]()
    while value is not None and value not in passed:  # a damaged file may go in circles
        producer = value.producer()
        if producer is None or producer.op_type != "Identity":
            break
        passed.add(value)
        value = producer.inputs[0]
    return value


def _stem(node: ir.Node) -> str | None:
    weight = weight_of(node)
    name = "" if weight is None else weight.name or ""
    if name == _LONE:
        return name
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else None


def _own_name(node: ir.Node, i: int) -> str:
    name = node.name or f"{node.op_type}_{i}"
    return name if node.op_type in _LAYERS else _EXPORTED.sub("", name)
