"""MNN: Alibaba's engine for phones, with Winograd convolutions.

Its `mnnconvert` command is never started: that installs packages and sends usage data. The converter that it
would call lies in the wheel and does neither.
"""

import sys
from pathlib import Path

import numpy as np

from pconv.bench.peers.base import Call, ConvertingPeer, Inputs, keeping_last, put_copy, run_converter
from pconv.bench.peers.environment import Environment

_FILE = "model.mnn"
_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"


class Mnn(ConvertingPeer):
    """High precision (fp32), the CPU back end; outputs in the order of the ONNX file."""

    name = "mnn"
    title = "MNN"
    environment = Environment(("MNN", "onnx"))
    max_rel_err = 5e-3
    why_off = "Winograd convolutions"

    def load(self, path: Path, threads: int) -> Call:
        import MNN
        import onnx

        interpreter = MNN.Interpreter(str(self.converted(path) / _FILE))
        session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})
        found = interpreter.getSessionOutputAll(session)
        names = [value.name for value in onnx.load(path, load_external_data=False).graph.output]

        def tensor(x: np.ndarray) -> "MNN.Tensor":
            return MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)

        results = [np.zeros(found[name].getShape(), np.float32) for name in names]
        pairs = [(found[name], tensor(result)) for name, result in zip(names, results, strict=True)]

        def feed(inputs: Inputs) -> list[tuple["MNN.Tensor", "MNN.Tensor"]]:
            return [(interpreter.getSessionInput(session, n), tensor(x)) for n, x in inputs.items()]

        def run(fed: list[tuple["MNN.Tensor", "MNN.Tensor"]]) -> list[np.ndarray]:
            for target, source in fed:
                target.copyFrom(source)
            interpreter.runSession(session)
            for source, target in pairs:
                source.copyToHostTensor(target)
            return [
                np.array(t.getNumpyData()).reshape(r.shape) for (_, t), r in zip(pairs, results, strict=True)
            ]

        return keeping_last(feed, run)

    def convert(self, path: Path, folder: Path) -> None:
        command: list[str | Path] = [
            sys.executable,
            "-c",
            _CONVERT,
            "mnnconvert",
            "-f",
            "ONNX",
            "--bizCode",
            "x",
        ]
        run_converter([*command, "--modelFile", put_copy(path, folder), "--MNNModel", _FILE], folder, _FILE)
