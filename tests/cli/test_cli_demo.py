"""`pconv demo`: the table and the page of what the demo measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from pconv.demo.result import DemoResult, Event
from pconv.patterns import LIBRARIES
from pconv.recipe import Recipe
from pconv.report import page as page_module
from pconv.sparsity import SparsityMap


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Replace the demo by one that measures nothing; returns what it was asked for."""
    seen: dict[str, object] = {}
    kernels = np.broadcast_to(LIBRARIES["elog4"][0].mask(), (2, 2, 3, 3))

    def run(dataset: str, *, on_event, **settings: object) -> DemoResult:
        seen.update(settings, dataset=dataset)
        on_event(Event("train", 0.5, "loss 1"))
        return DemoResult(
            dataset=dataset,
            network="one 3x3 convolution",
            recipe=Recipe(),
            train_images=10,
            test_images=5,
            accuracy_dense=1.0,
            accuracy_pruned=0.8,
            compression_rate=2.25,
            parameter_bytes_dense=144,
            parameter_bytes_pruned=64,
            file_bytes_dense=2000,
            file_bytes_pruned=1000,
            threads=1,
            samples_ms={"pconv dense": [2.0], "pconv pruned": [1.0]},
            max_rel_err={"pconv dense": 1e-7},
            sparsity=SparsityMap.detect({"conv": kernels}),
            seconds={"train": 1.0},
            notes=(),
        )

    monkeypatch.setattr("pconv.demo.run.run", run)
    return seen


def test_demo_prints_a_table_and_writes_a_page(cli, asked: dict[str, object], tmp_path: Path) -> None:
    ran = cli("demo", "-o", tmp_path / "new" / "demo", "--seconds", "1")
    assert ran.code == 0, ran.err
    page = tmp_path / "new" / "demo" / "index.html"
    assert f"Open {page}" in ran.out and "80.00%" in ran.out
    assert "80.00%" in page.read_text("utf-8")
    assert asked == {"dataset": "digits", "folder": page.parent, "threads": 1, "seconds": 1.0}


def test_demo_json(cli, asked: dict[str, object], tmp_path: Path) -> None:
    said = json.loads(cli("demo", "-o", tmp_path, "--dataset", "cifar10", "--json").out)
    assert asked["dataset"] == "cifar10"
    assert said["page"] == str(tmp_path / "index.html")
    assert said["result"]["accuracy_pruned"] == 0.8
    assert said["result"]["sparsity"]["layers"]["conv"]["compression_rate"] == 2.25
    assert said["machine"]["cores"] >= 1


def test_missing_packages_are_named_before_the_work(
    cli, asked: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)
    ran = cli("demo", "-o", tmp_path)
    assert ran.code == 2 and "pip install jinja2 matplotlib" in ran.err
    assert asked == {}


def test_unwritable_output(cli, asked: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = cli("demo", "-o", tmp_path / "file")
    assert (ran.code, ran.err) == (
        2,
        f"pconv: error: {tmp_path / 'file'}: cannot be written (File exists). Choose another folder with -o.\n",
    )
    assert asked == {}
