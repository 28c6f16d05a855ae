"""Dropout, Identity, Cast between float types: nothing at inference, so their input is their output."""

import onnx_ir as ir

from ..site import Operand, Site

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)


def identity(site: Site) -> Operand:
    """Convert Identity."""
    return site.tensor()


def dropout(site: Site) -> Operand:
    """Convert Dropout outside of training."""
    training = site.constant(2)
    if training is not None and bool(training):
        raise site.unsupported("it is in training mode", "inference", "Export the model in eval mode.")
    return site.tensor()


def cast(site: Site) -> Operand:
    """Convert Cast to a float type; activations are float32 whatever the source calls them."""
    to = ir.DataType(site.attr("to"))
    if to not in _FLOATS:
        raise site.unsupported(f"an activation is cast to {to.name}", "float types")
    return site.tensor()


CONVERTERS = {"Identity": identity, "Dropout": dropout, "Cast": cast}
