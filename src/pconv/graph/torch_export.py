"""A torch module to an onnx_ir model; torch is imported only when it is called."""

import contextlib
import io
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


def export(module: "torch.nn.Module", inputs: Inputs | None, fold: bool = True) -> ir.Model:
    """Export a module in eval mode by torch.onnx.export; the module's own mode is restored.

    `inputs` are example tensors or shapes: one, several in order, or by the names of forward's parameters. Without
    `fold`, batch norms stay apart, and every parameter stands in the model under its own name.

    Raises:
        ModelError: no inputs are given, or torch cannot export the module.
    """
    import torch

    from ..wrappers import unwrap

    module = unwrap(module)
    name = type(module).__name__
    if inputs is None:
        raise ModelError(f"{name}: a torch module needs example inputs or shapes: inputs=(1, 3, 224, 224).")
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
                optimize=fold,
                custom_translation_table=translations(),
            )
            assert program is not None
            model: ir.Model = program.model
            if not fold:
                _tidy(model)
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
