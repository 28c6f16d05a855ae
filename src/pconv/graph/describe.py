"""The normalised graph as text for a person."""

import onnx_ir as ir

from .nodes import NodeView, view
from .spec import OPS


def describe(model: ir.Model) -> str:
    """Tabulate a normalised model: one line a node with its shapes and what is not default."""
    graph = view(model)
    rows = [("node", "op", "input", "output", "attributes")]
    rows += [(name, "(input)", "", _shape(graph.shapes[name]), "") for name in graph.inputs]
    rows += [
        (
            node.name,
            node.op,
            ", ".join(_shape(node.shapes[t]) for t in node.tensors),
            _shape(node.out_shape),
            _extra(node),
        )
        for node in graph.nodes
    ]
    rows += [(name, "(output)", _shape(graph.shapes[name]), "", "") for name in graph.outputs]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _extra(node: NodeView) -> str:
    words = [f"kernel={_shape(node.weights[1].shape[2:])}"] if node.op == "Conv" else []
    defaults = OPS[node.op].attrs
    for attr, value in node.attrs.items():
        bounded = node.attrs.get("activation") in ("clip", "above", "atleast")
        if value == defaults[attr] or (attr.startswith("act_") and not bounded):
            continue
        words.append(f"{attr}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    if node.residual is not None:
        words.append(f"residual={node.residual}")
    return " ".join(words)
