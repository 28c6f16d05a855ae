"""Dropout, Identity: nothing at inference, so their input is their output. Cast: nothing, or rounded towards zero."""

import onnx_ir as ir

from ..shapes import FLOATS
from ..site import Operand, Site, shape_of

_WHOLE = (
    *(ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8, ir.DataType.BOOL),
    *(ir.DataType.UINT64, ir.DataType.UINT32, ir.DataType.UINT16, ir.DataType.UINT8),
)


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
    """Convert Cast; activations are float32 whatever the source calls them (see `types.py`)."""
    x, to, was = site.tensor(), ir.DataType(site.attr("to")), site.types[0]
    if to not in (*FLOATS, *_WHOLE):
        raise site.unsupported(f"an activation is cast to {to.name}", "float types, integers and BOOL")
    if to in FLOATS or was in (to, ir.DataType.BOOL):
        return x
    if to == ir.DataType.BOOL:
        size = site.emit("Activation", [x], shape_of(x), step="size", activation="leaky", act_min=-1.0)
        return site.emit("Activation", [size], shape_of(x), activation="above")
    if was in _WHOLE:
        return x
    return site.emit("Activation", [x], shape_of(x), activation="trunc")


CONVERTERS = {"Identity": identity, "Dropout": dropout, "Cast": cast}
