"""ONNX Runtime with the dense model in int8: what many would do for speed instead of pruning.

Post-training static quantisation: QDQ, int8 weights with a scale per channel, uint8 activations calibrated on
random images (min and max). Its answer is not fp32's; the error is reported, under a bound of its own.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pconv.bench.peers.base import Call, ConvertingPeer, keep_only
from pconv.bench.peers.environment import Environment
from pconv.bench.peers.onnxruntime import open_session
from pconv.errors import PconvError

CALIBRATION_IMAGES = 8
_FILE = "int8.onnx"


class OnnxRuntimeInt8(ConvertingPeer):
    """A CPU without VNNI gets 7 bits a weight, as the sums of two products in 16 bits overflow there otherwise."""

    name = "onnxruntime-int8"
    title = "ONNX Runtime, int8"
    environment = Environment(("onnxruntime", "onnx"))
    max_rel_err = 0.2
    why_off = "8 bits a weight and an activation"
    dtype = "int8"

    def load(self, path: Path, threads: int) -> Call:
        return open_session(self.converted(path) / _FILE, threads)

    def convert(self, path: Path, folder: Path) -> None:
        import onnxruntime as ort
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        shapes = {
            i.name: i.shape
            for i in ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()
        }
        if not all(isinstance(size, int) for shape in shapes.values() for size in shape):
            raise PconvError("an input's shape is not fixed; calibration needs one")
        fused = folder / "fused.onnx"
        quant_pre_process(str(path), str(fused), skip_symbolic_shape=True)
        quantize_static(
            str(fused),
            str(folder / _FILE),
            _Images(shapes),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=not _has_vnni(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        keep_only(folder, _FILE)


class _Images:
    """Standard normal images, as the comparison's own input; not the same ones."""

    def __init__(self, shapes: dict[str, Any]) -> None:
        draw = np.random.default_rng(1)
        self._left = [
            {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
            for _ in range(CALIBRATION_IMAGES)
        ]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None

    def __iter__(self) -> "_Images":
        return self

    def __next__(self) -> dict[str, Any]:
        if (image := self.get_next()) is None:
            raise StopIteration
        return image


def _has_vnni() -> bool:
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False
