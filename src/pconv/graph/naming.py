"""Names for nodes: what a person writes in a recipe and reads in a report."""

import re
from collections import Counter

import onnx_ir as ir

_LAYERS = ("Conv", "Gemm", "MatMul")
_EXPORTED = re.compile(r"^node_(?=.)")  # torch's exporter begins every name with it


def node_names(graph: ir.Graph) -> dict[ir.Node, str]:
    """Choose a name for every node.

    A layer is called after its weight (`layer1.0.conv1.weight` gives `layer1.0.conv1`), as torch and the
    sparsity map call it. Any other node, and the second user of a weight, has the name in the file, or else
    operator and number.
    """
    names: dict[ir.Node, str] = {}
    users: Counter[str] = Counter()
    for i, node in enumerate(graph):
        stem = _stem(node)
        users[stem or ""] += 1
        if stem is not None and users[stem] == 1:
            names[node] = stem
        else:
            name = node.name or f"{node.op_type}_{i}"
            names[node] = name if node.op_type in _LAYERS else _EXPORTED.sub("", name)
    return names


def _stem(node: ir.Node) -> str | None:
    if node.op_type not in _LAYERS or len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    name = node.inputs[1].name or ""
    return name.removesuffix(".weight") if name.endswith(".weight") else None
