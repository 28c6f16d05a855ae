"""An ONNX model run piece by piece: values are computed when somebody asks for them, by ONNX Runtime.

    images -> [nodes that `a` needs] -> a        later: a -> [nodes that `b` needs besides] -> b

Weights can be replaced between two pieces, so that what follows sees the new ones. Owns running only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ModelError
from ..extras import require_onnxruntime

Array = NDArray[Any]


class Execution:
    """Hold the values that a model has computed and that are still needed, one array per batch of images.

    Raises: ModelError for a model that ONNX Runtime does not run.
    """

    def __init__(self, model: onnx.ModelProto, batches: Sequence[Array]) -> None:
        require_onnxruntime("calibration")
        graph = model.graph
        self._model = model
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes = [_copy(node) for node in graph.node]
        self._maker = {output: i for i, node in enumerate(self._nodes) for output in node.output if output}
        self._outputs = {value.name for value in graph.output}
        (start,) = (value.name for value in graph.input if value.name not in self._constants)
        self._values: dict[str, list[Array]] = {start: list(batches)}
        self._count = len(batches)
        self._done: set[int] = set()

    def replace(self, name: str, array: Array) -> None:
        """Give a constant another value, or a computed name a constant one."""
        self._constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        if name in self._maker:
            self._done.add(self._maker.pop(name))

    def connect(self, node_output: str, place: int, name: str) -> None:
        """Let the node that makes `node_output` read `name` as its input number `place`."""
        node = self._nodes[self._maker[node_output]]
        node.input.extend([""] * (place + 1 - len(node.input)))
        node.input[place] = name

    def at(self, name: str) -> list[Array]:
        """Give a value for every batch."""
        if name not in self._values:
            self._run(name)
        return self._values[name]

    def needs(self, name: str) -> set[str]:
        """Collect a value and all computed values that it depends on."""
        found: set[str] = set()
        queue = [name]
        while queue:
            name = queue.pop()
            if name in self._maker and name not in found:
                found.add(name)
                queue += self._nodes[self._maker[name]].input
        return found

    def _run(self, wanted: str) -> None:
        needed = {self._maker[name] for name in self.needs(wanted)} - self._done
        nodes = [self._nodes[i] for i in sorted(needed)]
        made = {output for node in nodes for output in node.output if output}
        read = {name for node in nodes for name in node.input if name}
        self._done |= needed
        needed_later = self._read_later()
        inputs = sorted(read & self._values.keys())
        outputs = sorted(made & (needed_later | {wanted}))
        session = self._session(nodes, inputs, outputs, read)
        runs = self._count if inputs else 1  # what needs no image is the same for all batches
        columns = [
            session.run(outputs, {name: self._values[name][i] for name in inputs}) for i in range(runs)
        ] * (self._count // runs)
        for name, arrays in zip(outputs, zip(*columns, strict=True), strict=True):
            self._values[name] = list(arrays)
        for name in set(self._values) - needed_later - {wanted}:
            del self._values[name]

    def _read_later(self) -> set[str]:
        waiting = (node for i, node in enumerate(self._nodes) if i not in self._done)
        return {name for node in waiting for name in node.input} | self._outputs

    def _session(
        self, nodes: Sequence[onnx.NodeProto], inputs: Iterable[str], outputs: Iterable[str], read: set[str]
    ) -> Any:
        import onnxruntime

        graph = onnx.helper.make_graph(
            list(nodes),
            "piece",
            [_declare(name, self._values[name][0].dtype) for name in inputs],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [self._constants[name] for name in sorted(read & self._constants.keys())],
        )
        piece = onnx.helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                piece.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions have no common base
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{nodes[-1].name or nodes[-1].op_type}: ONNX Runtime cannot run it for calibration ({reason}). "
                "Prune this model by magnitude, without --calibrate."
            ) from error


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _declare(name: str, dtype: np.dtype[Any]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(dtype), None)
