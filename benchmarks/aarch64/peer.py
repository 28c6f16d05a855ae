"""Run a peer once between two markers; what an AArch64 Python executes under the counting emulator.

peer.py ENGINE FOLDER DTYPE INPUT OUTPUT     reads FOLDER/x.npy and the peer's own files, writes FOLDER/y.npy

One inference warms up, a second one is counted. Nothing of pconv is imported: this Python has numpy and the peers.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

MARKER = 0xC0DE


def mark(number: int) -> None:
    """Tell the plugin that a region begins or ends: a system call that fails, and that nothing else makes."""
    try:
        os.getpriority(MARKER, number)
    except OSError:
        return


def run_ncnn(folder: Path, x: np.ndarray, half: bool, names: list[str]) -> Callable[[], np.ndarray]:
    """Load the network; Winograd and packed layouts are on, as by default."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic"):
        setattr(net.opt, f"use_{name}", half)
    net.opt.use_bf16_storage = False
    net.load_param(str(folder / "model.ncnn.param"))
    net.load_model(str(folder / "model.ncnn.bin"))
    source = ncnn.Mat(x[0]).clone()

    def run() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", source)
        return np.array(extractor.extract("out0")[1])

    return run


def run_mnn(folder: Path, x: np.ndarray, half: bool, names: list[str]) -> Callable[[], np.ndarray]:
    """Load the network at high precision, or at low, which is fp16 where the CPU has it."""
    import MNN

    config = {"backend": "CPU", "precision": "low" if half else "high", "numThread": 1}
    manager = MNN.nn.create_runtime_manager((config,))
    net = MNN.nn.load_module_from_file(
        str(folder / "model.mnn"), names[:1], names[1:], runtime_manager=manager, shape_mutable=False
    )
    expr = MNN.expr
    source = expr.const(x, list(x.shape), expr.NCHW)

    def run() -> np.ndarray:
        found = net.forward([source])[0]
        if found.data_format == expr.NC4HW4:
            found = expr.convert(found, expr.NCHW)
        return np.array(found.read())

    return run


def run_onnxruntime(folder: Path, x: np.ndarray, half: bool, names: list[str]) -> Callable[[], np.ndarray]:
    """Load the network for the CPU; fp32 only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {names[0]: x})[0]


ENGINES = {"ncnn": run_ncnn, "mnn": run_mnn, "onnxruntime": run_onnxruntime}


def main() -> None:
    """Count one inference."""
    engine, folder, dtype, *names = sys.argv[1:]
    run = ENGINES[engine](Path(folder), np.load(f"{folder}/x.npy"), dtype == "float16", names)
    run()
    mark(0)
    y = run()
    mark(1)
    np.save(f"{folder}/y.npy", np.asarray(y, np.float32))


if __name__ == "__main__":
    main()
