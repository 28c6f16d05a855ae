"""The page of instruction counts says what the results say."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("aarch64.tables")


def row(engine: str, instructions: int, kind: str = "dense", layers: tuple[Any, ...] = ()) -> dict[str, Any]:
    counts = {"instructions": instructions, "fmla": 4_000_000, "loads": 1_000_000, "l1_misses": 200_000}
    labels = {"engine": engine, "kind": kind, "dtype": "float32", "max_rel_err": 3e-7}
    return {**labels, **counts, **({"layers": list(layers)} if engine == "pconv" else {})}


def test_the_page_is_up_to_date(tables: ModuleType) -> None:
    document = json.loads((ROOT / "benchmarks" / "results" / "aarch64.json").read_text())
    tables.write_tables(document, check=True)


def test_accuracy_is_up_to_date_and_within_its_goal(tables: ModuleType) -> None:
    document = json.loads((ROOT / "benchmarks" / "results" / "fp16_accuracy.json").read_text())
    tables.write_accuracy(document, check=True)
    top1 = {dtype: row["top1_percent"] for dtype, row in document["results"].items()}
    assert all(abs(found - top1["fp32"]) <= 0.2 for found in top1.values())


def test_shares_are_of_ncnns_and_layers_of_one_micro_kernel_stand_together(tables: ModuleType) -> None:
    loop = {"instructions": 73, "fmla": 56, "loads": 14, "cycles_per_fmla": 0.504}
    layer = {"micro_kernel": "f32_conv_ab12cd", "instructions": 2_000_000, "inner_loop": loop}
    copy = {"micro_kernel": "f32_gather_ab12cd", "instructions": 1_000_000, "inner_loop": None}
    results = [row("pconv", 5_000_000, "groups of 4", (layer, layer, copy)), row("ncnn", 10_000_000)]
    case = {"title": "a net", "goals": {"float32": 0.45}, "results": results}
    emulated = {"cpu": "cortex-a76", "engines": {"ncnn": "1"}, "mca": "neoverse-n1"}
    text = tables.render({"cases": {"net": case}, "emulated": emulated})
    assert "| pconv, groups of 4 | fp32 | 5.00 | 0.500 | 0.45 | 4.00 | 1.00 | 0.20 | 3e-07 |" in text
    assert "| ncnn | fp32 | 10.00 | 1.000 |  |" in text
    assert "| groups of 4 | `f32_conv` | 73 | 56 | 14 | 0.504 | 80% |" in text and "gather" not in text
