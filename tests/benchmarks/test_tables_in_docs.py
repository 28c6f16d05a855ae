"""Tables in the docs are those of the stored results."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load a script by its path: a folder of tests may have its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(
        f"benchmark_{request.param}", ROOT / "benchmarks" / f"{request.param}.py"
    )
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.parametrize("benchmark", ["tuning"], indirect=True)
def test_the_table_of_tuning_is_current(benchmark: ModuleType) -> None:
    document = json.loads(benchmark.RESULTS.read_text("utf-8"))
    page = benchmark.PAGE.read_text("utf-8")
    assert benchmark.with_table(page, document) == page
    assert len(benchmark.render(document).splitlines()) == 4 + len(document["results"])


@pytest.mark.parametrize("benchmark", ["forecast"], indirect=True)
def test_the_table_of_forecasts_is_current(benchmark: ModuleType) -> None:
    page = (ROOT / "docs" / "forecast.md").read_text("utf-8")
    assert benchmark.replace(page, benchmark.render(benchmark.read())) == page
