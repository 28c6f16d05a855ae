"""A batch is timed against its images one after another, and against ONNX Runtime; the table divides by the images."""

import importlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.torch, pytest.mark.cc]
NETWORK = "resnet20_cifar"


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("batches")
    (pruning,) = (one for one in script.NETWORKS["mobilenet_v2"] if one.group == script.GROUP)
    monkeypatch.setattr(script, "NETWORKS", {NETWORK: (pruning,)})
    monkeypatch.setattr(script, "TITLES", {NETWORK: "ResNet-20"})
    monkeypatch.setattr(script, "MEASURED", (NETWORK,))
    monkeypatch.setattr(script.timing, "SETTLE_S", 0.0)
    monkeypatch.setattr(script.cores, "MIN_NEAR", 0.0)  # wherever a host has moved the cores
    return script


def test_all_take_turns(batches: Any) -> None:
    record = batches.measure(NETWORK, batch=3, fold=2, threads=2, seconds=0.0)
    ours = (f"{kind} {how}" for kind in ("dense", "pruned") for how in ("one by one", "batch", "folded"))
    assert set(record["samples_ms"]) == {"onnxruntime batch", *ours}
    assert all(min(samples) > 0 for samples in record["samples_ms"].values())
    assert 0 < record["max_rel_err"] < 1e-4
    assert "| ResNet-20, 4x in groups of 4 |" in batches.render({NETWORK: record})


def test_nothing_is_stored_of_cores_apart(batches: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.cores, "MIN_NEAR", 0.5)
    with pytest.raises(SystemExit, match="net: the cores were near for 25% of the time alone; not stored"):
        batches.cores.require_near("net", [24.0, 160.0, 160.0, 160.0])
    batches.cores.require_near("net", [24.0, 25.0, 160.0])


def test_wrong_answers_are_not_timed(batches: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "max_rel_err", lambda outputs, expected: 0.5)
    with pytest.raises(SystemExit, match=r"5\.0e-01 off ONNX Runtime; nothing was timed"):
        batches.measure(NETWORK, batch=2, fold=2, threads=1, seconds=0.0)


def test_a_cell_is_for_one_image(batches: Any) -> None:
    samples = {
        "onnxruntime batch": [30.0],
        "dense one by one": [20.0, 22.0, 90.0],
        "dense batch": [11.0],
        "dense folded": [10.0],
        "pruned one by one": [8.0],
        "pruned batch": [4.0],
        "pruned folded": [2.0],
    }
    settings = {"batch": 2, "fold": 4, "threads": 2, "rate": 8.0, "group": 4}
    machine = {"cpu": "A CPU", "cores": 2, "os": "Linux", "versions": {"pconv": "1"}}
    table = batches.render({NETWORK: {"settings": settings, "samples_ms": samples, "machine": machine}})
    cells = "15.00 | 11.00 | 5.50 (2.00x) | 5.00 (2.20x) | 4.00 | 2.00 (2.00x) | 1.00 (4.00x)"
    assert f"| ResNet-20, 8x in groups of 4 | {cells} |" in table.splitlines()
    assert table.splitlines()[-1].startswith("Batches of 2, folded 4 at a time, 2 threads; A CPU")
