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


def refuse(source: ir.Graph, names: Mapping[ir.Node, str]) -> None:
    """Refuse what no converter can do, before any is asked: attention first, then operators that have none.

    Raises: UnsupportedError.
    """
    computed = {value for value in source.inputs if value.name not in source.initializers}
    nodes = list(_computed(source))
    products = []
    for node in nodes:
        computed.update(node.outputs)
        if node.op_type in ("MatMul", "Einsum") and all(value in computed for value in node.inputs[:2]):
            products.append(node)
    products = [node for node in products if not _has_vector(node)]
    if products:
        first, more = products[0], len(products) - 1
        also = f" (and in {more} more places)" if more else ""
        raise UnsupportedError(
            f"{names[first]} ({first.op_type}): it multiplies two computed matrices, as in attention{also}; allowed: a "
            "constant matrix, or a vector. Compile the part before this node, or a network of convolutions alone."
        )
    for node in nodes:
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
    near = did_you_mean(node.op_type, CONVERTERS.keys() - {node.op_type})
    hint = f" ({near})" if near else ""
    others = sorted(
        {_kind(other) for other in _computed(source) if converter_of(other) is None} - {_kind(node)}
    )
    also = f", and so are {', '.join(others)} elsewhere in the model" if others else ""
    return UnsupportedError(
        f"{name} ({_kind(node)}): this operator is unsupported{hint}{also}; allowed: the {len(CONVERTERS)} that "
        "docs/operators.md lists. Replace it in the model before the export."
    )


def _has_vector(node: ir.Node) -> bool:
    """Tell whether the file gives a product's operands sizes by which one is a vector."""
    sides = zip(node.inputs[:2], (-2, -1), strict=False)
    return any(
        value is not None and value.shape is not None and len(value.shape) > 2 and value.shape[side] == 1
        for value, side in sides
    )


def _computed(source: ir.Graph) -> Iterator[ir.Node]:
    """Go through the nodes that depend on more than shapes and constants."""
    computed = {value for value in source.inputs if value.name not in source.initializers}
    for node in source:
        if node.op_type not in ("Shape", "Size") and not computed.isdisjoint(node.inputs):
            computed.update(node.outputs)
            yield node
