"""TVM with kernels that its own tuner found; untuned it is tens of times slower and is never shown."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from pconv.bench.peers.base import Call, Peer, keeping_last, put_copy
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError

LIBRARY, RECORD = "tuned.so", "tuned.json"


class Tvm(Peer):
    """MetaSchedule on Relax, NHWC. Tuning takes a quarter of an hour a network, so it is a step of its own."""

    name = "tvm"
    title = "TVM, tuned"
    # 0.1.15 of the second crashes as the tuner begins.
    environment = Environment(
        (
            "apache-tvm==0.27.0.post1",
            "apache-tvm-ffi==0.1.14.post0",
            "numpy>=1.26",
            "onnx>=1.18",
            "xgboost-cpu>=3",
            "psutil>=6",
            "cloudpickle>=3",
        ),
        apart="tvm",
    )

    def load(self, path: Path, threads: int) -> Call:
        folder = self.tuned(path, threads)
        if not (folder / LIBRARY).is_file():
            raise PconvError(
                f"it is not tuned for this model and {threads} thread{'s' * (threads > 1)}; "
                f"python -m pconv.bench.peers tune {self._copy(path)} --threads {threads}"
            )
        os.environ["TVM_NUM_THREADS"] = str(threads)
        import tvm
        from tvm import relax

        machine = relax.VirtualMachine(tvm.runtime.load_module(str(folder / LIBRARY)), tvm.cpu())

        def run(tensors: list[Any]) -> list[np.ndarray]:
            found = machine["main"](*tensors)
            return [y.numpy() for y in ([found] if hasattr(found, "numpy") else found)]

        return keeping_last(lambda inputs: [tvm.runtime.tensor(x) for x in inputs.values()], run)

    def _copy(self, path: Path) -> Path:
        """Keep the model for tuning: that of a network by name, or with sizes fixed, is gone after the comparison."""
        return self.keep(self.folder(path, "model"), lambda draft: put_copy(path, draft)) / "model.onnx"

    def tuned(self, path: Path, threads: int) -> Path:
        """Name the folder of the tuned library, and of the record of how it was tuned."""
        return self.folder(path, "threads", threads)

    def tuning(self, path: Path, threads: int) -> dict[str, Any] | None:
        """Say how it was tuned: trials, tasks, seconds; None where it was not."""
        record = self.tuned(path, threads) / RECORD
        return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
