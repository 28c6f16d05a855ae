"""Ask a model what shapes it has for several samples: pconv computes each alone, so no value may mix them.

    x [n, 4, 5] -> Unsqueeze axis 0           [1, 1, 4, 5] of one sample, [1, n, 4, 5] of n: refused
    x [n, 1, 4] -> Transpose perm 1, 0, 2     [1, 1, 4] of one sample, [1, n, 4] of n: refused

Operators refuse by themselves what is about axis 0; this finds what only shapes of several samples tell. A model that
cannot be computed for several, as after a Reshape to [1, 400], has but one meaning, and is let pass.
"""

from collections.abc import Sequence
from math import prod

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from .batches import Batches
from .load import quiet_reader
from .nodes import Shape
from .site import Operand, Site, shape_of

_OPEN = 61  # a prime, which hardly is one of a model's own sizes


class Several:
    """What a model has for several samples: for those that an export froze, or where their number is open, for some."""

    def __init__(self, model: ir.Model, frozen: int, one_sample: bool) -> None:
        """Infer the shapes of `frozen` samples, where that is more than 1; nothing where the model is for one."""
        self.count = frozen if frozen > 1 else _OPEN
        self._shapes = {} if one_sample else _shapes(model, self.count)

    def check(self, site: Site, results: Sequence[Operand | None], batches: Batches) -> None:
        """Compare a node's results with a batch, of one sample, with what they are of several.

        Raises: UnsupportedError.
        """
        for output, value in zip(site.node.outputs, results, strict=False):
            several = self._shapes.get(output)
            if several is None or not isinstance(value, ir.Value) or batches.lacks(output):
                continue
            one = shape_of(value)
            if several != (self.count, *one[1:]):
                raise site.unsupported(
                    f"of one sample it gives {list(one)}, of {self.count} {list(several)}, so it mixes them",
                    "a first dimension that counts the samples",
                    "Keep them apart, or compile for one sample, with inputs= or --input.",
                )


def _shapes(model: ir.Model, samples: int) -> dict[ir.Value, Shape]:
    """Give the shapes, as far as they are known, of what nodes compute; none where they cannot for so many samples."""
    twin = model.clone()  # shares the weights
    for value in twin.graph.inputs:
        if value.shape and value.name not in twin.graph.initializers:
            value.shape = ir.Shape((samples, *value.shape[1:]))
    for value in (*twin.graph.outputs, *(output for node in twin.graph for output in node.outputs)):
        value.shape = None
    with quiet_reader():
        ShapeInferencePass(check_type=False)(twin)
    if any(node.op_type == "Reshape" and not _fits(node) for node in twin.graph):
        return {}
    return {
        value: shape
        for node, copy in zip(model.graph, twin.graph, strict=True)
        for value, other in zip(node.outputs, copy.outputs, strict=True)
        if (shape := _shape(other)) is not None
    }


def _shape(value: ir.Value | None) -> Shape | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def _fits(node: ir.Node) -> bool:
    """Tell whether a Reshape has as many elements as it reads, as far as is known, which inference does not ask."""
    read, given = _shape(node.inputs[0]), _shape(node.outputs[0])
    return read is None or given is None or prod(read) == prod(given)
