"""Tables in the docs are those of the stored results."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_table_of_tuning_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    tuning = importlib.import_module("tuning")
    document = json.loads(tuning.RESULTS.read_text("utf-8"))
    page = tuning.PAGE.read_text("utf-8")
    assert tuning.with_table(page, document) == page
    assert len(tuning.render(document).splitlines()) == 4 + len(document["results"])


def test_the_table_of_forecasts_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    forecast = importlib.import_module("forecast")
    page = (ROOT / "docs" / "forecast.md").read_text("utf-8")
    assert forecast.replace(page, forecast.render(forecast.read())) == page
