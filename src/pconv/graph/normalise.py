"""From any supported model to the normalised graph."""

import onnx_ir as ir

from .passes import PASSES
from .translate import translate


def normalise(model: ir.Model) -> ir.Model:
    """Make the normalised graph of a model that `load` returned; the model itself stays as it is.

    Raises:
        UnsupportedError: the model asks for something outside `ops/`.
        ModelError: the model is not valid ONNX.
    """
    normalised = translate(model)
    for rewrite in PASSES:
        rewrite(normalised.graph)
    return normalised
