"""DeepSparse: the one engine beside ours that makes use of zeros on a CPU, wherever they stand.

1.8.0 is its last version that runs (1.9.0 says that it has ended). It reads ONNX of 2022: opset 17.
"""

import os
from pathlib import Path

from pconv.bench.peers.base import Call, ConvertingPeer, keeping_last
from pconv.bench.peers.environment import Environment

_FILE = "model.onnx"
OPSET, IR_VERSION = 17, 8
# Newer files say these defaults, and opset 17 has no such attributes.
_NEWER = ("noop_with_empty_axes", "allowzero")


class DeepSparse(ConvertingPeer):
    """One stream, its own scheduler; no usage data."""

    name = "deepsparse"
    title = "DeepSparse"
    environment = Environment(("deepsparse==1.8.0",), apart="deepsparse", python="3.11")
    prunable = True

    def load(self, path: Path, threads: int) -> Call:
        os.environ["NM_DISABLE_ANALYTICS"] = "1"
        import deepsparse

        engine = deepsparse.Engine(str(self.converted(path) / _FILE), batch_size=1, num_cores=threads)
        return keeping_last(lambda inputs: list(inputs.values()), engine.run)

    def convert(self, path: Path, folder: Path) -> None:
        import onnx
        from onnx import version_converter

        model = onnx.load(path)
        if model.opset_import[0].version > OPSET:
            model = version_converter.convert_version(model, OPSET)
        model.ir_version = min(model.ir_version, IR_VERSION)
        for node in model.graph.node:
            for attribute in [a for a in node.attribute if a.name in _NEWER]:
                node.attribute.remove(attribute)
        onnx.save(model, folder / _FILE)
