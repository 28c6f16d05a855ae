"""ONNX Runtime on the CPU: the dense engine that most people have, and the reference for everybody's answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pconv.bench.peers.base import Call, Outputs, Peer, keeping_last
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError


class OnnxRuntime(Peer):
    """All graph optimisations, sequential execution, and spinning threads: its default, and its fastest."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    environment = Environment(("onnxruntime",))
    isolated = False

    def load(self, path: Path, threads: int) -> Call:
        return open_session(path, threads)


def open_session(path: Path, threads: int) -> Call:
    """Open a file.

    Raises: PconvError when ONNX Runtime cannot read it; the call does when it cannot run it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    with _one_line():
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(feed: dict[str, NDArray[Any]]) -> Outputs:
        with _one_line():
            return list(session.run(None, feed))

    return keeping_last(dict, run)


@contextmanager
def _one_line() -> Iterator[None]:
    """Make one line of its errors, which have no common base."""
    try:
        yield
    except Exception as error:
        raise PconvError(f"ONNX Runtime: {str(error).strip().splitlines()[0][:200]}") from error
