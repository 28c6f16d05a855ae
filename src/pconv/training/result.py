"""What a finished run leaves: the network as ONNX and as weights, its recipe, and what was measured."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pconv.errors import RecipeError
from pconv.files import check_apart, unwritable, write_atomically
from pconv.graph.round_trip import export
from pconv.pruning import save_sparse
from pconv.recipe import Recipe
from pconv.sparsity import SparsityMap
from pconv.training.evaluate import Change
from pconv.training.log import FILE as LOG

MODEL, WEIGHTS, PACKED = "model.onnx", "weights.pt", "weights.safetensors"
RECIPE, RESULT = "recipe.toml", "result.json"
FILES = (MODEL, WEIGHTS, PACKED, RECIPE, RESULT)
ADVICE = "Name another folder with -o."


@dataclass(frozen=True)
class Result:
    """Hold what a run measured; accuracies are shares, 0..1.

    `accuracy_dense` and `change` compare with the weights that the run began from, where there were any. `seconds` are
    those of all its sessions; of one that was killed, up to its last checkpoint.
    """

    folder: Path
    model: str
    data: str
    method: str | None
    settings: Mapping[str, Any]
    train_images: int
    test_images: int
    shortened: bool
    epoch: int
    held_out_accuracy: float | None
    accuracy: float
    accuracy_dense: float | None
    change: Change | None
    compression_rate: float | None
    seconds: float
    machine: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return plain values: the standard error of a single test image is none, as JSON has no NaN."""
        values = {**asdict(self), "folder": str(self.folder)}
        if self.change is not None and math.isnan(self.change.standard_error):
            values["change"]["standard_error"] = None
        return values


def check_sources(folder: Path, *sources: str | Path | None) -> None:
    """Check that a run does not begin from files of its own folder: it would replace them.

    Raises: BuildError naming the file.
    """
    for source in sources:
        for name in FILES:
            check_apart(folder / name, source, ADVICE, "one of the files to begin from")


def clear(folder: Path, recipe: Recipe | None) -> None:
    """Delete what an earlier run left, so that no file of it stands beside those of the run that begins.

    A recipe that is this run's own stays: it may be the file that somebody wrote.

    Raises: BuildError when a file cannot be deleted.
    """
    if not any((folder / name).exists() for name in (LOG, RESULT)):
        return
    for path in (folder / name for name in FILES):
        if path.name == RECIPE and recipe is not None and _says(path, recipe):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(path, error, ADVICE) from error


def _says(path: Path, recipe: Recipe) -> bool:
    try:
        return Recipe.load(path) == recipe
    except RecipeError:
        return False


def write_network(
    module: nn.Module,
    shape: tuple[int, ...],
    sparsity: SparsityMap | None,
    recipe: Recipe | None,
    folder: Path,
) -> None:
    """Write a finished network in all its forms, its zeros checked against the map.

    Raises: ModelError when the network cannot be exported, or a pruned position is not zero.
    """
    module = module.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    export(module, folder / MODEL, shape, sparsity, fold=False)  # --weights can read it back
    if sparsity is not None:
        save_sparse(module, folder / PACKED, sparsity)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    write_atomically(folder / WEIGHTS, buffer, ADVICE)
    if recipe is not None:
        write_atomically(folder / RECIPE, recipe.dumps().encode(), ADVICE)


def write_result(result: Result) -> None:
    """Write what was measured, last of all: where it stands, the run is complete."""
    text = json.dumps(result.as_json(), indent=1) + "\n"
    write_atomically(result.folder / RESULT, text.encode(), ADVICE)
