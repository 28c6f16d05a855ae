"""The cost model ranks the stored timings of a real core, and the search for costs finds better ones than bad ones."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("512-512@28 free", "64-64@56 g4", "1024-256@14k1 dense")


@pytest.fixture(scope="module")
def fit_costs() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("fit_costs")


@pytest.fixture(scope="module", params=["x86-64-v3", "znver4"])
def measured(fit_costs: Any, request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any]]:
    document = json.loads((ROOT / "benchmarks" / "results" / f"schedules_{request.param}.json").read_text())
    document["layers"] = {name: document["layers"][name] for name in LAYERS}
    return fit_costs.timed(document)


def test_the_first_choice_is_near_the_fastest(measured: tuple[Any, dict[str, Any]]) -> None:
    target, data = measured
    assert sorted(data) == sorted(LAYERS)
    for layer in data.values():
        assert len(layer) > 8  # as many of the timed schedules are still offered
        first = min(layer, key=lambda schedule: schedule.modelled(target))
        assert first.cycles < 1.15 * min(schedule.cycles for schedule in layer)


def test_the_search_finds_better_costs(
    fit_costs: Any, measured: tuple[Any, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    target, data = measured
    poor = replace(target, costs=replace(target.costs, tap=50.0, visit=500.0))
    before = sum(fit_costs.objective(poor, layer) for layer in data.values())
    found = fit_costs.fit(poor, data, steps=60)
    assert (
        sum(fit_costs.objective(replace(target, costs=found), layer) for layer in data.values())
        < 0.9 * before
    )
    assert capsys.readouterr().out.count("mean regret") == 2
