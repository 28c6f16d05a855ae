"""Check what the lowering relies on: the table in `spec.py`, static shapes, batch 1, unique names."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...errors import ModelError
from ..edit import weight
from ..site import shape_of
from ..spec import ACTIVATIONS, OPS


def check_normalised(graph: ir.Graph) -> None:
    """Check every node.

    Raises:
        ModelError: folding gave weights that are not finite.
    """
    for node in graph:
        spec = OPS[node.op_type]
        for i in spec.weights:
            bad = int(np.count_nonzero(~np.isfinite(weight(node, i))))
            if bad:
                raise ModelError(
                    f"{node.name} ({node.op_type}): {bad} weights are not finite after folding; "
                    "allowed: finite float32. Check the model's scales and statistics."
                )
        computed = sum(value is not None and value.const_value is None for value in node.inputs)
        assert spec.tensors[0] <= computed <= spec.tensors[1], f"{node.name}: {computed} inputs"
        assert set(node.attributes) == set(spec.attrs), (
            f"{node.name}: {set(node.attributes) ^ set(spec.attrs)}"
        )
        assert "activation" not in spec.attrs or node.attributes["activation"].value in ACTIVATIONS
        assert shape_of(node.outputs[0])[:1] == (1,) or node.outputs[0].is_graph_output()
    _assert_unique([node.name for node in graph])
    _assert_unique([value.name for value in [*graph.inputs, *(node.outputs[0] for node in graph)]])


def _assert_unique(names: Sequence[str | None]) -> None:
    assert None not in names and len(set(names)) == len(names), "names are not unique"
