"""TFLite (now LiteRT) with XNNPACK, its CPU back end."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from pconv.bench.peers.base import Call, ConvertingPeer, Inputs, keeping_last, put_copy, run_converter
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError

_FILE = "model_float32.tflite"
_SAVED = "saved_model.pb"

# What onnx2tf does last, for a process that holds nothing else.
_FROM_SAVED = f"""\
import pathlib, tensorflow as tf
pathlib.Path("{_FILE}").write_bytes(tf.lite.TFLiteConverter.from_saved_model(".").convert())
"""

# onnx2tf would download these images; whatever they show, only its own checks look at them.
_IMAGES = "calibration_image_sample_data_20x128x128x3_float32.npy"


class TfLite(ConvertingPeer):
    """XNNPACK is the default. The converter, onnx2tf with TensorFlow, lives apart; it takes minutes a model."""

    name = "tflite"
    title = "TFLite"
    environment = Environment(("ai-edge-litert",))
    converter: ClassVar[Environment] = Environment(("onnx2tf==1.29.24",), apart="onnx2tf", python="3.11")

    def load(self, path: Path, threads: int) -> Call:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(self.converted(path) / _FILE), num_threads=threads)
        interpreter.allocate_tensors()
        outputs = [detail["index"] for detail in interpreter.get_output_details()]

        def feed(inputs: Inputs) -> list[tuple[int, np.ndarray]]:
            details = interpreter.get_input_details()
            if len(details) == 1:
                return [(details[0]["index"], _channels_last(x)) for x in inputs.values()]
            named = {
                detail["name"].rpartition("_")[2].partition(":")[0]: detail["index"] for detail in details
            }
            return [(named[name], _channels_last(x)) for name, x in inputs.items()]

        def run(fed: list[tuple[int, np.ndarray]]) -> list[np.ndarray]:
            for index, x in fed:
                interpreter.set_tensor(index, x)
            interpreter.invoke()
            return [_channels_first(interpreter.get_tensor(index)) for index in outputs]

        return keeping_last(feed, run)

    def convert(self, path: Path, folder: Path) -> None:
        np.save(folder / _IMAGES, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
        command: list[str | Path] = [
            self.converter.interpreter,
            "-m",
            "onnx2tf",
            "-i",
            put_copy(path, folder),
            "-o",
            ".",
            "-n",
        ]
        try:
            run_converter(command, folder, _FILE)
        except PconvError:
            # By the time it goes on from there, onnx2tf has many copies of the weights: of VGG-16's, over 20 GB.
            if not (folder / _SAVED).is_file():
                raise
            run_converter([self.converter.interpreter, "-c", _FROM_SAVED], folder, _FILE)


def _channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def _channels_first(y: np.ndarray) -> np.ndarray:
    return y.transpose(0, 3, 1, 2) if y.ndim == 4 else y
