"""ONNX Runtime on the CPU: the dense engine that most people have."""

from collections.abc import Callable, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class OnnxRuntime:
    """All graph optimisations, sequential execution, and spinning threads: its default, and its fastest."""

    name = "onnxruntime"
    install = "pip install onnxruntime"

    def available(self) -> str | None:
        if util.find_spec("onnxruntime") is None:
            return f"onnxruntime is not installed; {self.install}"
        return None

    def version(self) -> str:
        return metadata.version("onnxruntime")

    def load(self, path: Path, threads: int) -> Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda inputs: list(session.run(None, dict(inputs)))
