"""What cannot be translated is refused before any work is done."""

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from ..errors import UnsupportedError, did_you_mean
from .ops import CONVERTERS, Converter

_QUANTISED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)

_INSTEAD = {
    "GatherND": "If it is an adaptive pool whose output does not divide its input, compile the torch module itself, "
    "export it with pconv.export, or choose a size that divides.",
}
"""What to do where an operator is how torch exports something that pconv can do."""
_OPTIMISED = "com.microsoft"
"""The domain of what ONNX Runtime makes of a model that it has optimised."""


def refuse(source: ir.Graph, names: Mapping[ir.Node, str]) -> None:
    """Refuse operators that have no converter, before any is asked.

    Raises: UnsupportedError.
    """
    for node in _computed(source):
        if converter_of(node) is None:
            raise unknown(node, names[node], source)


def converter_of(node: ir.Node) -> Converter | None:
    """Give what converts a node; None where nothing does."""
    return CONVERTERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None


def _kind(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def unknown(node: ir.Node, name: str, source: ir.Graph) -> UnsupportedError:
    """Make the error for an operator without a converter; it names the others of the model as well."""
    if node.op_type in _QUANTISED:
        return UnsupportedError(
            f"{name} ({_kind(node)}): the model is quantised; allowed: float weights and activations. "
            "Give the float model that it was made from."
        )
    optimised = node.domain == _OPTIMISED
    near = "" if optimised else did_you_mean(node.op_type, CONVERTERS.keys() - {node.op_type})
    hint = f" ({near})" if near else ""
    others = sorted(
        {_kind(other) for other in _computed(source) if converter_of(other) is None} - {_kind(node)}
    )
    also = f", and so are {', '.join(others)} elsewhere in the model" if others else ""
    instead = _INSTEAD.get(node.op_type, "Replace it in the model before the export.")
    if optimised:
        instead = "Give the model as it was before ONNX Runtime optimised it."
    return UnsupportedError(
        f"{name} ({_kind(node)}): this operator is unsupported{hint}{also}; allowed: the {len(CONVERTERS)} that "
        f"docs/operators.md lists. {instead}"
    )


def _computed(source: ir.Graph) -> Iterator[ir.Node]:
    """Go through the nodes that depend on more than shapes and constants."""
    computed = {value for value in source.inputs if value.name not in source.initializers}
    for node in source:
        if node.op_type not in ("Shape", "Size") and not computed.isdisjoint(node.inputs):
            computed.update(node.outputs)
            yield node
