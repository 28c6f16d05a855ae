"""What the demo says while it runs, and what it measured in the end; plain data for a table and a page."""

from collections.abc import Callable
from dataclasses import dataclass

from pconv.recipe import Recipe
from pconv.sparsity import SparsityMap

OURS_DENSE = "pconv dense"
OURS_PRUNED = "pconv pruned"
PEER_DENSE = "onnxruntime dense"


@dataclass(frozen=True)
class Event:
    """Say what is going on: a stage, and how much of it is done (0..1, None where nobody knows)."""

    stage: str
    share: float | None = None
    note: str = ""


OnEvent = Callable[[Event], object]


@dataclass(frozen=True)
class DemoResult:
    """Hold what the demo measured. Accuracies are those of the compiled engines, 0..1, on all test images.

    `samples_ms` is by engine: "pconv dense", "pconv pruned", "onnxruntime dense" (where it is installed).
    `seconds` is by stage; `notes` say what is missing.
    """

    dataset: str
    network: str
    recipe: Recipe
    train_images: int
    test_images: int
    accuracy_dense: float
    accuracy_pruned: float
    compression_rate: float
    parameter_bytes_dense: int
    parameter_bytes_pruned: int
    file_bytes_dense: int
    file_bytes_pruned: int
    threads: int
    samples_ms: dict[str, list[float]]
    max_rel_err: dict[str, float]
    sparsity: SparsityMap
    seconds: dict[str, float]
    notes: tuple[str, ...]
