"""A torch module to an ONNX file of one fixed input shape."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from pconv.errors import ModelError

# a protobuf message ends at 2 GiB; leave some room for the graph itself
INLINE_BYTES_MAX = (2 << 30) - (16 << 20)


def export_onnx(module: nn.Module, shape: Sequence[int], path: str | Path) -> Path:
    """Write a module as ONNX, with input `input` and output `output`; the file appears whole or not at all.

    Weights above 2 GiB go to a file beside it, which is ONNX's limit.

    Raises: ModelError when the file cannot be written.
    """
    path = Path(path)
    weight_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            program = _export(module, shape)
            program.save(Path(folder) / path.name, external_data=weight_bytes > INLINE_BYTES_MAX)
            # weights beside the file come first: whoever sees the file finds them
            for draft in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
                os.replace(draft, path.parent / draft.name)
    except OSError as error:
        raise ModelError(f"{path}: cannot write the ONNX file: {error.strerror}.") from error
    return path


def _export(module: nn.Module, shape: Sequence[int]) -> torch.onnx.ONNXProgram:
    with _quiet():
        program = torch.onnx.export(
            module,
            (torch.zeros(*shape, device=next(module.parameters()).device),),
            dynamo=True,
            verbose=False,
            input_names=["input"],
            output_names=["output"],
        )
    assert program is not None  # dynamo=True always returns one
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's own chatter, which names its internals and nothing a user can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
