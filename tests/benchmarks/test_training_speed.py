"""A training step is timed in every layout and precision, with a teacher and without; docs/training.md says so."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.torch


@pytest.fixture
def training_speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("training_speed")


def test_every_variant_is_measured(
    training_speed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "speed.json"
    monkeypatch.setattr("sys.argv", ["training_speed.py", "--batch", "2", "--steps", "2", "-o", str(results)])
    compiled: list[Any] = []
    monkeypatch.setattr(training_speed, "compiled", lambda loss: compiled.append(loss) or loss)
    training_speed.main()
    training_speed.main()  # the same machine again: in place of the first run
    (run,) = json.loads(results.read_text())["runs"]
    rows = run["results"]
    keys = [(row["layout"], row["precision"], row["teacher"], row["compiled"]) for row in rows]
    assert keys == list(training_speed.VARIANTS)
    assert len(compiled) == 2 * sum(row["compiled"] for row in rows)
    assert all(len(row["samples_s"]) == 2 and row["epoch_s"] > 0 for row in rows)


def test_a_cell_is_what_was_measured(training_speed: Any) -> None:
    settings = {"network": "a_network", "threads": 1}
    cpu = {"machine": {"cpu": "A CPU"}, "settings": settings, "results": [
        {"layout": "channels_last", "precision": "bf16", "teacher": False, "compiled": False,
         "epoch_s": 59.6},
    ]}  # fmt: skip
    empty = " - |" * (len(training_speed.VARIANTS) - 3)
    assert f"\n| a_network, 1 core of A CPU | - | - | 60 |{empty}\n" in training_speed.render({"runs": [cpu]})
    chosen = training_speed.render(
        {"runs": [{**cpu, "settings": {**settings, "threads": 2, "auto": "bf16"}}]}
    )
    assert f"\n| a_network, 2 cores of A CPU, bf16 by itself | - | - | 60 |{empty}\n" in chosen
