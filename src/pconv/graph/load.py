"""Read a model from wherever it is: an ONNX file, a proto, an onnx_ir model, a torch module."""

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from ..errors import ModelError
from ..files import COMPILED_BEGINNINGS
from .reason import reason
from .shapes import OTHER_FLOATS, Inputs, set_shapes

_VALUES = {
    "raw_data",
    *(f"{kind}_data" for kind in ("float", "double", "int32", "int64", "uint64", "string")),
}


def load(source: Any, *, inputs: Inputs | None = None) -> ir.Model:
    """Load a model as it is, with its weights checked.

    `source` is a path to an .onnx file, an onnx.ModelProto, an onnx_ir.Model (kept) or a torch.nn.Module.
    `inputs` are example arrays or shapes, in order or by name: needed for a module and where sizes are free.

    Raises:
        ModelError: the source cannot be read, or its weights have NaN or infinite values.
    """
    if isinstance(source, (str, os.PathLike)):
        model = _from_path(Path(source))
    elif isinstance(source, onnx.ModelProto):
        model = _from_proto(source, "the ModelProto")
    elif isinstance(source, ir.Model):
        model = _from_ir(source)
    elif hasattr(source, "named_parameters"):  # a torch.nn.Module, recognised without importing torch
        from .torch_export import export

        model, inputs = export(source, inputs), None
    else:
        raise ModelError(
            f"cannot load a {type(source).__name__}; "
            "allowed: a path to an .onnx file, onnx.ModelProto, onnx_ir.Model, torch.nn.Module."
        )
    _check_names(model.graph)
    if model.functions:
        _inline(model)
    if inputs is not None:
        set_shapes(model.graph, inputs)
    _check_weights(model.graph)
    return model


def _from_path(path: Path) -> ir.Model:
    if not path.exists():
        raise ModelError(f"{path}: no such file. Give the path of an .onnx file.")
    if path.is_dir():
        raise ModelError(f"{path}: this is a directory. Give the path of an .onnx file.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise ModelError(f"{path}: the file is empty. Export the model again.")
    if data.startswith(COMPILED_BEGINNINGS):
        raise ModelError(
            f"{path}: this is a compiled model; allowed is the ONNX file it came from. pconv.load opens it."
        )
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises several kinds, by its implementation
        raise ModelError(
            f"{path}: not an ONNX model, or cut off ({reason(error)}). Export it again."
        ) from error
    model = _from_proto(proto, str(path))
    ir.external_data.set_base_dir(model.graph, path.parent)
    if model.graph.name in (None, "", "main_graph", "main", "torch_jit", "torch-jit-export"):
        model.graph.name = path.stem
    return model


def _from_proto(proto: onnx.ModelProto, where: str) -> ir.Model:
    if not proto.HasField("graph") or not proto.graph.node:
        raise ModelError(f"{where}: it has no nodes: not an ONNX model, or cut off. Export it again.")
    for what, named in (("input", proto.graph.input), ("initialiser", proto.graph.initializer)):
        for name, times in Counter(value.name for value in named).items():
            if times > 1:  # readers differ in which of them they take
                raise ModelError(f"{where}: {what} {name} is there {times} times. Export the model again.")
    for tensor in proto.graph.initializer:
        if _lacks_data(tensor):
            raise ModelError(
                f"{where}: initialiser {tensor.name} has a shape and no values. Export the model with its weights."
            )
    try:
        with quiet_reader():
            model: ir.Model = ir.from_proto(proto)
        return model
    except Exception as error:  # a broken proto can break the reader anywhere
        raise ModelError(f"{where}: not a valid ONNX model ({reason(error)}). Export it again.") from error


def _lacks_data(tensor: onnx.TensorProto) -> bool:
    """Say whether no value is stored for a tensor that should have some: the reader would make zeros of it."""
    fields = {field.name for field, _ in tensor.ListFields()}
    stored = tensor.data_location == onnx.TensorProto.EXTERNAL or not fields.isdisjoint(_VALUES)
    return not stored and 0 not in tensor.dims


@contextlib.contextmanager
def quiet_reader() -> Iterator[None]:
    """Keep the reader's warnings from the terminal: what they are of is an error of ours, later, with a next step."""
    reader = logging.getLogger("onnx_ir")
    level = reader.level
    reader.setLevel(logging.ERROR)
    try:
        yield
    finally:
        reader.setLevel(level)


def _from_ir(source: ir.Model) -> ir.Model:
    try:
        return source.clone()  # shares the weights
    except Exception as error:  # values that nothing defines
        raise ModelError(f"the onnx_ir.Model is not valid ({reason(error)}). Build it again.") from error


def _inline(model: ir.Model) -> None:
    try:
        InlinePass()(model)  # in place
    except Exception as error:  # recursive or broken functions
        raise ModelError(
            f"the model's functions cannot be inlined ({reason(error)}). Export it again."
        ) from error


def _check_names(graph: ir.Graph) -> None:
    """Refuse names that are not text: they would break every message and file that quotes them."""
    names: list[object] = [graph.name, *graph.initializers]
    values = [*graph.inputs, *graph.outputs]
    for node in graph:
        names += [node.name, node.op_type, node.domain]
        values += [value for value in (*node.inputs, *node.outputs) if value is not None]
    names += [value.name for value in values]
    for name in names:
        if name is not None and not (isinstance(name, str) and name.isprintable()):
            raise ModelError(
                f"the name {name!r} is not printable text: the model is damaged. Export it again."
            )


def _check_weights(graph: ir.Graph) -> None:
    """Read every constant once: it must be there and finite. A scalar may be infinite: it may be a bound."""
    for name, tensor in _constants(graph):
        if isinstance(tensor, ir.ExternalTensor):
            _check_location(name, PurePath(tensor.location))
        try:
            array = tensor.numpy()
        except Exception as error:  # missing or short external file, wrong byte count
            raise ModelError(
                f"initialiser {name}: its data cannot be read ({reason(error)}). "
                "Keep the external data file beside the model, or export it again."
            ) from error
        if array.dtype.kind in "fV":
            values = array if array.dtype.kind == "f" else array.astype(np.float32)
            good = np.isfinite(values) if values.ndim else ~np.isnan(values)
            if bad := good.size - int(np.count_nonzero(good)):
                raise ModelError(
                    f"initialiser {name}: {bad} of {good.size} values are NaN or infinite; "
                    "allowed: finite numbers. Train or export the model again."
                )


def other_floats(model: ir.Model) -> dict[str, int]:
    """Count the constants that are read as float32 although they are other floats, by type."""
    counts: dict[str, int] = {}
    for _, tensor in _constants(model.graph):
        if tensor.dtype in OTHER_FLOATS:
            counts[tensor.dtype.name] = counts.get(tensor.dtype.name, 0) + 1
    return counts


def weight_files(model: ir.Model) -> list[Path]:
    """List the files beside a model in which some of its constants lie."""
    external = [tensor for _, tensor in _constants(model.graph) if isinstance(tensor, ir.ExternalTensor)]
    return sorted({Path(tensor.path) for tensor in external})


def _check_location(name: str, location: PurePath) -> None:
    if location.is_absolute() or ".." in location.parts:
        raise ModelError(
            f"initialiser {name}: its data lies in {location}; allowed: a file in the model's own directory. "
            "Save the model with its data beside it."
        )


def _constants(graph: ir.Graph) -> list[tuple[str, Any]]:
    found = [(name, value.const_value) for name, value in graph.initializers.items()]
    for node in graph:
        if node.op_type == "Constant" and "value" in node.attributes:
            found.append((node.outputs[0].name or "", node.attributes["value"].value))
    return [(name, tensor) for name, tensor in found if tensor is not None]
