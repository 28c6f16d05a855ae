"""Tables in the docs are those of the stored results."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load_script(name: str, patch: pytest.MonkeyPatch) -> ModuleType:
    """Load a benchmark by its path: a folder of tests may have its name."""
    patch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_table_of_tuning_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = load_script("tuning", monkeypatch)
    document = json.loads(tuning.RESULTS.read_text("utf-8"))
    page = tuning.PAGE.read_text("utf-8")
    assert tuning.with_table(page, document) == page
    assert len(tuning.render(document).splitlines()) == 4 + len(document["results"])


def test_the_table_of_forecasts_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    forecast = load_script("forecast", monkeypatch)
    page = (ROOT / "docs" / "forecast.md").read_text("utf-8")
    assert forecast.replace(page, forecast.render(forecast.read())) == page
