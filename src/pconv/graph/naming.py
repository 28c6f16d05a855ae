"""Names for layers: what a person writes in a recipe and reads in a report."""

import re

import onnx_ir as ir

_LAYERS = ("Conv", "Gemm", "MatMul")
_MADE_UP = re.compile(r"node_\w+|")  # by torch's exporter, or none at all


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a unique name.

    A name in the file stands, unless torch's exporter made it up (`node_conv2d_1`): then, and where there is
    none, a layer takes the name of its weight (`layer1.0.conv1.weight` gives `layer1.0.conv1`). Any other
    node without a name takes its operator and a number.
    """
    taken = {node.name for node in graph if not _MADE_UP.fullmatch(node.name or "")}
    for i, node in enumerate(graph):
        if not _MADE_UP.fullmatch(node.name or ""):
            continue
        wanted = _owner(node) or (node.name or "").removeprefix("node_") or f"{node.op_type.lower()}_{i}"
        name, again = wanted, 1
        while name in taken:
            name, again = f"{wanted}_{again}", again + 1
        taken.add(name)
        node.name = name


def _owner(node: ir.Node) -> str | None:
    if node.op_type not in _LAYERS or len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    name = node.inputs[1].name or ""
    return (
        name.removesuffix(".weight") if name.endswith(".weight") and node.inputs[1].is_initializer() else None
    )
