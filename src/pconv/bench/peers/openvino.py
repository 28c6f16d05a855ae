"""OpenVINO: Intel's engine, convolving through oneDNN."""

from pathlib import Path

import numpy as np

from pconv.bench.peers.base import Call, Peer, keeping_last
from pconv.bench.peers.environment import Environment


class OpenVino(Peer):
    """The latency hint, and fp32 throughout: it would choose bf16 by itself where the CPU has it."""

    name = "openvino"
    title = "OpenVINO"
    environment = Environment(("openvino",))

    def load(self, path: Path, threads: int) -> Call:
        import openvino as ov

        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        model = ov.Core().compile_model(str(path), "CPU", options)
        request = model.create_infer_request()
        outputs = [request.get_output_tensor(i) for i in range(len(model.outputs))]

        def run(feed: dict[str, "ov.Tensor"]) -> list[np.ndarray]:
            for name, tensor in feed.items():
                request.set_tensor(name, tensor)
            request.infer()
            return [np.array(output.data) for output in outputs]

        return keeping_last(lambda inputs: {name: ov.Tensor(x) for name, x in inputs.items()}, run)
