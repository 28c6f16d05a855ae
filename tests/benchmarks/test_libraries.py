"""Networks pruned with each library take turns; the table compares with the first library."""

import importlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.torch, pytest.mark.cc]
NETWORK = "resnet20_cifar"


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("libraries")
    (pruning,) = (one for one in script.NETWORKS["resnet18"] if one.group == 1)
    monkeypatch.setattr(script, "NETWORKS", {NETWORK: (pruning,)})
    monkeypatch.setattr(script, "TITLES", {NETWORK: "ResNet-20"})
    monkeypatch.setattr(script, "MEASURED", (NETWORK,))
    monkeypatch.setattr(script, "LIBRARIES", {"scp8": 8, "any4": 126})
    monkeypatch.setattr(script.timing, "SETTLE_S", 0.0)
    return script


def test_all_take_turns(libraries: Any) -> None:
    record = libraries.measure(NETWORK, threads=1, seconds=0.0)
    assert list(record["samples_ms"]) == list(record["max_rel_err"]) == ["scp8", "any4"]
    assert all(min(samples) > 0 for samples in record["samples_ms"].values())
    assert all(0 < error < 1e-4 for error in record["max_rel_err"].values())
    assert "| ResNet-20, 8x |" in libraries.render({NETWORK: record})


def test_wrong_answers_are_not_timed(libraries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "max_rel_err", lambda outputs, expected: 0.5)
    with pytest.raises(SystemExit, match=r"5\.0e-01 off ONNX Runtime; nothing was timed"):
        libraries.measure(NETWORK, threads=1, seconds=0.0)


def test_a_cell_compares_with_the_first_library(libraries: Any) -> None:
    machine = {"cpu": "A CPU", "cores": 2, "os": "Linux", "versions": {"pconv": "1"}}
    record = {
        "settings": {"threads": 1, "rate": 8.0},
        "samples_ms": {"scp8": [2.0, 2.0, 9.0], "any4": [3.0]},
        "machine": machine,
    }
    table = libraries.render({NETWORK: record}).splitlines()
    assert table[0] == "| each filter free | scp8: 8 shapes | any4: 126 shapes |"
    assert table[2] == "| ResNet-20, 8x | 2.00 ms | 3.00 ms (1.50x) |"
    assert table[-1].startswith("1 thread; A CPU")
