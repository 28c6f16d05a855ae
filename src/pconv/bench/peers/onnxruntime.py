"""ONNX Runtime on the CPU: the dense engine that most people have, and the reference for everybody's answers."""

from pathlib import Path

from pconv.bench.peers.base import Call, Peer, keeping_last
from pconv.bench.peers.environment import Environment


class OnnxRuntime(Peer):
    """All graph optimisations, sequential execution, and spinning threads: its default, and its fastest."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    environment = Environment(("onnxruntime",))
    isolated = False

    def load(self, path: Path, threads: int) -> Call:
        return open_session(path, threads)


def open_session(path: Path, threads: int) -> Call:
    """Open a file."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return keeping_last(dict, lambda feed: list(session.run(None, feed)))
