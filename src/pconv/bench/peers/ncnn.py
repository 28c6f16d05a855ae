"""ncnn: Tencent's engine for phones; its Winograd convolutions are among the fastest dense ones on x86 too."""

from pathlib import Path

import numpy as np

from pconv.bench.peers.base import Call, ConvertingPeer, keeping_last, put_copy, run_converter
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError

_PARAM, _BIN = "model.ncnn.param", "model.ncnn.bin"


class Ncnn(ConvertingPeer):
    """fp32 storage and sums, Winograd and packed layouts on, as by default; pnnx, its own converter, reads the ONNX."""

    name = "ncnn"
    title = "ncnn"
    environment = Environment(("ncnn", "pnnx"))
    max_rel_err = 5e-3
    why_off = "Winograd convolutions"

    def load(self, path: Path, threads: int) -> Call:
        import ncnn

        folder = self.converted(path)
        net = ncnn.Net()
        net.opt.num_threads = threads
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
            setattr(net.opt, f"use_{name}", False)
        if net.load_param(str(folder / _PARAM)) or net.load_model(str(folder / _BIN)):
            raise PconvError("ncnn cannot read what pnnx made of the model")
        # pnnx numbers inputs and outputs in the model's order; the batch of one is not a dimension.
        names = [f"out{i}" for i in range(len(net.output_names()))]
        shapes = _output_shapes(path)

        def run(mats: list["ncnn.Mat"]) -> list[np.ndarray]:
            extractor = net.create_extractor()
            for i, mat in enumerate(mats):
                extractor.input(f"in{i}", mat)
            found = []
            for name, shape in zip(names, shapes, strict=True):
                code, mat = extractor.extract(name)
                if code:
                    raise PconvError(f"ncnn gave error {code} for {name}")
                found.append(np.array(mat).reshape(shape))
            return found

        return keeping_last(lambda inputs: [ncnn.Mat(x[0]).clone() for x in inputs.values()], run)

    def convert(self, path: Path, folder: Path) -> None:
        import pnnx

        shapes = ",".join(str(list(shape)).replace(" ", "") for shape in _input_shapes(path))
        command = [pnnx.EXEC_PATH, put_copy(path, folder), f"inputshape={shapes}", "fp16=0"]
        run_converter(command, folder, _PARAM, _BIN)


def _input_shapes(path: Path) -> list[tuple[int, ...]]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [_shape(value) for value in graph.input if value.name not in constants]


def _output_shapes(path: Path) -> list[tuple[int, ...]]:
    import onnx

    return [_shape(value) for value in onnx.load(path, load_external_data=False).graph.output]


def _shape(value: "object") -> tuple[int, ...]:
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)  # type: ignore[attr-defined]
