"""Compute a source node whose inputs are all known."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from ..errors import UnsupportedError
from .reason import reason
from .site import Array

if TYPE_CHECKING:
    import onnx

_RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}


def is_foldable(node: ir.Node) -> bool:
    """Tell whether a node gives the same result whenever it runs."""
    plain = not any(
        a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()
    )
    return plain and node.domain in ("", "ai.onnx") and node.op_type not in _RANDOM


def _keep_statistics(proto: "onnx.NodeProto") -> None:
    """Let a batch norm take its statistics as they are; the reference mixes in those of its input."""
    for attribute in [attribute for attribute in proto.attribute if attribute.name == "momentum"]:
        proto.attribute.remove(attribute)
    proto.attribute.add(name="momentum", type=1, f=1.0)


def fold(node: ir.Node, name: str, operands: Sequence[Array | None], opset: int) -> list[Array]:
    """Run one node on known inputs by the reference implementation of ONNX; outputs after the last used are left out.

    Raises:
        UnsupportedError: the reference implementation does not know the operator, or cannot run it.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = ["" if operand is None else f"i{i}" for i, operand in enumerate(operands)]
    used = [i for i, value in enumerate(node.outputs) if value.uses() or value.is_graph_output()]
    outputs = [f"o{i}" for i in range(max(used, default=0) + 1)]
    proto = ir.to_proto(node)
    if node.op_type == "BatchNormalization" and opset < 14:
        _keep_statistics(proto)
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(outputs)
    infos = [[onnx.ValueInfoProto(name=it) for it in half if it] for half in (names, outputs)]
    graph = onnx.helper.make_graph([proto], "fold", infos[0], infos[1])
    if node.op_type == "DequantizeLinear":
        opset = max(opset, 19)  # the reference implementation begins there; it computes what older ones do
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    feeds = {it: operand for it, operand in zip(names, operands, strict=True) if it}
    try:
        return list(ReferenceEvaluator(model).run(None, feeds))
    except Exception as error:
        raise UnsupportedError(
            f"{name} ({node.op_type}): its constant inputs cannot be computed ({reason(error)}). "
            "Simplify the model before the export."
        ) from error
