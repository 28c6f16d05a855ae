"""Compute a source node whose inputs are all known."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import onnx_ir as ir

from ..errors import UnsupportedError
from .reason import reason
from .site import Array

if TYPE_CHECKING:
    import onnx

_SOFTMAXES = ("Softmax", "LogSoftmax", "Hardmax")
# Pads with which the reference errs; of transposed convolutions, where a stride is larger than the kernel.
_WRONG_PADS = {"MaxPool": ("SAME_LOWER",), "ConvTranspose": ("SAME_LOWER", "SAME_UPPER")}
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


def fold(node: ir.Node, name: str, operands: Sequence[Array | None], opset: int) -> list[Array]:
    """Run one node on known inputs by the reference implementation of ONNX; outputs after the last used are left out.

    Raises:
        UnsupportedError: the reference implementation does not know the operator, cannot run it, or errs in it.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = ["" if operand is None else f"i{i}" for i, operand in enumerate(operands)]
    used = [i for i, value in enumerate(node.outputs) if value.uses() or value.is_graph_output()]
    last = max(used, default=0)
    outputs = [f"o{i}" for i in range(len(node.outputs) if node.op_type == "Split" else last + 1)]
    proto = ir.to_proto(node)
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(outputs)
    feeds = {it: operand for it, operand in zip(names, operands, strict=True) if it}
    shape = None
    if node.op_type == "BatchNormalization" and opset < 14:
        _set(proto, "momentum", 1.0)  # the reference mixes in the statistics of its input
    elif node.op_type in _SOFTMAXES and opset < 13 and (x := operands[0]) is not None:
        shape = x.shape  # from the axis on all was one row; the reference knows the newer definition only
        axis = node.attributes.get_int("axis", 1)
        feeds["i0"] = x.reshape(prod(shape[:axis]), prod(shape[axis:]))
        _set(proto, "axis", 1)
    elif node.op_type == "DequantizeLinear":
        opset = max(opset, 19)  # the reference implementation begins there; it computes what older ones do
    infos = [[onnx.ValueInfoProto(name=it) for it in half if it] for half in (names, outputs)]
    graph = onnx.helper.make_graph([proto], "fold", infos[0], infos[1])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    if why := _computed_otherwise(node, last):
        raise _refused(name, node, why)
    try:
        results: list[Array] = list(ReferenceEvaluator(model).run(None, feeds))
    except Exception as error:
        raise _refused(name, node, reason(error)) from error
    return results if shape is None else [results[0].reshape(shape)]


def _computed_otherwise(node: ir.Node, last: int) -> str:
    """Say what the reference implementation computes otherwise than ONNX has it, of outputs up to `last`."""
    pads = node.attributes.get_string("auto_pad", "")
    if node.op_type == "MaxPool" and last > 0:
        return "its second output is read"
    if pads in _WRONG_PADS.get(node.op_type, ()):
        return f"auto_pad is {pads}"
    return "a local response norm" if node.op_type == "LRN" else ""


def _refused(name: str, node: ir.Node, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name} ({node.op_type}): its constant inputs cannot be computed ({why}). "
        "Simplify the model before the export."
    )


def _set(proto: "onnx.NodeProto", name: str, value: float | int) -> None:
    """Give a node this attribute instead of its own."""
    import onnx

    for attribute in [attribute for attribute in proto.attribute if attribute.name == name]:
        proto.attribute.remove(attribute)
    proto.attribute.append(onnx.helper.make_attribute(name, value))
