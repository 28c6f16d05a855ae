"""A torch module to an onnx_ir model; torch is imported only when it is called."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from ..errors import ModelError
from .reason import reason
from .shapes import Inputs, as_list, as_shape
from .torch_pools import translations

if TYPE_CHECKING:
    import torch

TURNED_KEY = "pconv.transposed"  # of a model's metadata: parameters that stand in it the other way round


def export(module: "torch.nn.Module", inputs: Inputs | None, fold: bool = True) -> ir.Model:
    """Export a module in eval mode by torch.onnx.export; the module's own mode is restored.

    `inputs` are example tensors or shapes: one, several in order, or by the names of forward's parameters. Without
    `fold`, batch norms stay apart, and parameters stand in the model under their own names.

    Raises:
        ModelError: it is no module, no inputs are given, or torch cannot export the module.
    """
    import torch

    from ..wrappers import first_names, unwrap, with_plain_weights

    module = unwrap(module)
    name = type(module).__name__
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"{name}: no module; allowed is a torch.nn.Module. Give the one that it was made from."
        )
    if inputs is None:
        raise ModelError(f"{name}: a torch module needs example inputs or shapes: inputs=(1, 3, 224, 224).")
    module = with_plain_weights(module)
    like = next(module.parameters(), torch.empty(0))

    def example(given: Any) -> torch.Tensor:
        if isinstance(given, torch.Tensor):
            return given
        return torch.zeros(as_shape(given), dtype=like.dtype, device=like.device)

    named = isinstance(inputs, Mapping)
    args = () if named else tuple(example(item) for item in as_list(inputs))
    kwargs = {key: example(item) for key, item in inputs.items()} if named else None
    modes = [(part, part.training) for part in module.modules()]
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                args,
                kwargs=kwargs,
                dynamo=True,
                verbose=False,
                optimize=False,
                custom_translation_table=translations(),
            )
            assert program is not None
            _name_first(program.model, first_names(module))
            turned = _turned(program.model)
            if fold:
                program.optimize()
            else:
                _tidy(program.model)
            model: ir.Model = program.model
            _name_turned(model, turned)
    except Exception as error:  # the exporter raises many kinds; each ends here as one line
        raise ModelError(
            f"{name}: torch.onnx.export failed ({reason(error)}). "
            "Check that the module runs on these inputs, and that its forward has no data-dependent branches."
        ) from error
    finally:
        for part, training in modes:
            part.training = training
    model.graph.name = name
    return model


def _name_first(model: ir.Model, names: Mapping[str, str]) -> None:
    """Call a tensor that has several names by the first: the exporter may take another one."""
    initializers = model.graph.initializers
    for name, first in names.items():
        if name != first and name in initializers and first not in initializers:
            _rename(model, name, first)


def _rename(model: ir.Model, old: str, new: str) -> None:
    value = model.graph.initializers.pop(old)
    value.name = new
    model.graph.initializers.add(value)


def _turned(model: ir.Model) -> dict[str, str]:
    """Find the matrices that are read transposed alone, before they are folded: the result's name, and their own."""
    return {
        str(node.outputs[0].name): str(node.inputs[0].name)
        for node in model.graph
        if node.op_type == "Transpose"
        and node.inputs[0] is not None
        and node.inputs[0].is_initializer()
        and len(node.inputs[0].uses()) == 1
    }


def _name_turned(model: ir.Model, turned: Mapping[str, str]) -> None:
    """Call what was folded after the matrix that it came from: a layer has its weight's name; say which were."""
    initializers, renamed = model.graph.initializers, []
    for result, name in turned.items():
        if result in initializers and name not in initializers:
            _rename(model, result, name)
            renamed.append(name)
    if renamed:
        model.metadata_props[TURNED_KEY] = json.dumps(renamed)


def _tidy(model: ir.Model) -> None:
    """Compute what is constant, and leave the weights as they are."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript import optimizer

    optimizer.fold_constants(model)
    RemoveUnusedNodesPass()(model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, log lines and deprecation warnings from the caller's terminal.

    What it fails on it raises as well.
    """
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(level)
