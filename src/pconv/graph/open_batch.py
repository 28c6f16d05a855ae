"""Ask a model what shapes it has for several samples: pconv computes each alone, so no value may mix them.

    x [n, 4, 5] -> Unsqueeze axis 0           [1, 1, 4, 5] of one sample, [1, n, 4, 5] of n: refused
    x [n, 1, 4] -> Transpose perm 1, 0, 2     [1, 1, 4] of one sample, [1, n, 4] of n: refused

    Div(x, Shape(x)[0])                       x / 1 of one sample, x / n of n: refused

Operators refuse by themselves what is about axis 0; this finds what only shapes of several samples tell. A model that
cannot be computed for several, as after a Reshape to [1, 400], has but one meaning, and is let pass.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ..errors import UnsupportedError
from .batches import Batches
from .folding import fold
from .load import quiet_reader
from .nodes import Shape
from .ranks import COMBINING
from .site import Array, Operand, Site, shape_of

_OPEN = 61  # a prime, which hardly is one of a model's own sizes
_MOST_NUMBERS = 64
"""How many numbers a constant may have that is computed for several samples too: sizes, and what is made of them."""
_COMPUTING = {*COMBINING, "Clip", "Pow"}


class Several:
    """What a model has for several samples: for those that an export froze, or where their number is open, for some."""

    def __init__(self, model: ir.Model, frozen: int, one_sample: bool) -> None:
        """Infer the shapes of `frozen` samples, where that is more than 1; nothing where the model is for one."""
        self.count = frozen if frozen > 1 else _OPEN
        self._shapes = {} if one_sample else _shapes(model, self.count)
        self._counts: dict[ir.Value, Array] = {}  # constants that depend on how many, as several have them

    def measured(self, site: Site) -> None:
        """Note what a Shape or a Size gives of several samples."""
        if not self._shapes or site.reads_unbatched:
            return
        sizes = (self.count, *shape_of(site.tensor())[1:])
        of = sizes[site.attr("start", 0) : site.attr("end", None)] if site.op == "Shape" else prod(sizes)
        self._counts[site.node.outputs[0]] = np.array(of, dtype=np.int64)

    def folded(
        self, node: ir.Node, name: str, operands: Sequence[Array | None], results: Sequence[Array], opset: int
    ) -> None:
        """Note which results of a node that was computed are others of several samples."""
        few = all(array.size <= _MOST_NUMBERS for array in results)
        if self._counts.keys().isdisjoint(node.inputs) or not few:
            return
        of = [
            x if value is None else self._counts.get(value, x)
            for value, x in zip(node.inputs, operands, strict=True)
        ]
        try:
            others = fold(node, name, of, opset)
        except UnsupportedError:  # it cannot be computed for so many
            return
        self._counts.update(zip(node.outputs, others, strict=False))

    def refuse_counts(self, site: Site) -> None:
        """Refuse what computes with a number that depends on how many samples there are.

        Raises: UnsupportedError.
        """
        if site.op not in _COMPUTING or not self._counts:
            return
        for value, one in zip(site.node.inputs, site.operands, strict=True):
            several = None if value is None else self._counts.get(value)
            if several is not None and isinstance(one, np.ndarray) and not _repeats(several, one):
                raise site.unsupported(
                    f"it computes with {one.tolist()} of one sample, with {several.tolist()} of {self.count}",
                    "numbers that do not count the samples",
                    "Compile for one sample, with inputs= or --input.",
                )

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


def _repeats(several: Array, one: Array) -> bool:
    """Tell whether a constant is the same for each of several samples."""
    try:
        return bool(np.all(np.broadcast_to(one, several.shape) == several))
    except ValueError:
        return False


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
