"""What docs/pruning.md shows works, and its table is that of the results."""

import importlib
import json
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from torch import nn  # noqa: E402

import pconv  # noqa: E402
from pconv.patterns import LIBRARY_NAMES, SHRINKING  # noqa: E402

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "pruning.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    world = {
        "module": module,
        "optimizer": torch.optim.SGD(module.parameters(), 0.01),
        "batches": [(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))] * 4,
    }
    for snippet in blocks("python"):
        exec(snippet, world)
    assert world["sparsity"].layers["3"].compression_rate == pytest.approx(3.6)  # 5 kernels of 8
    assert {path.name for path in tmp_path.iterdir()} == {"net.safetensors", "net.onnx", "train.onnx"}


def test_the_recipe_is_one() -> None:
    (text,) = blocks("toml")
    assert pconv.Recipe.loads(text).permute
    for name in (*LIBRARY_NAMES, *SHRINKING):
        family, _, size = name.partition("-")
        assert family in text and size in text


def test_every_method_is_explained() -> None:
    assert set(re.findall(r"^\| `(\w+)`", TEXT, re.MULTILINE)) == set(pconv.pruning.METHODS)


def test_the_table_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "accuracy"))
    benchmark = importlib.import_module("grouping")
    table = benchmark.table(json.loads(benchmark.RESULTS.read_text(encoding="utf-8")))
    assert f"<!-- grouping:begin -->\n{table}\n<!-- grouping:end -->" in TEXT
