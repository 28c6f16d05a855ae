"""Two ranks on one global batch are one rank: same losses, same masks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch

from pconv.errors import PconvError
from pconv.training import distributed

pytestmark = pytest.mark.torch


def losses(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def launch(folder: Path, *arguments: str) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", tiny_run.__file__]
    done = subprocess.run(
        [sys.executable, *command, str(folder), *arguments], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def test_two_ranks_are_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    alone = tiny_run.loop(one, module=tiny_run.network(batch_norm=False, dropout=0.0), ema=0.0)
    alone.run()
    launch(two)
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert len(losses(two)) == alone.total
    first, second = (torch.load(two / f"masks-{rank}.pt") for rank in (0, 1))
    expected = alone.pruner.state_dict()["masks"]
    assert first.keys() == second.keys() == expected.keys() and len(first) == 2
    for name in expected:
        assert torch.equal(first[name], second[name])
        assert torch.equal(first[name], expected[name])
    assert all(torch.load(two / "same-0.pt"))


def test_ranks_with_batch_norms_of_their_own_validate_what_is_written(tmp_path: Path) -> None:
    launch(tmp_path, "norms")
    first, second = (torch.load(tmp_path / f"best-{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, second["state"][key]) for key, value in first["state"].items())
    assert first["held_out"] == second["held_out"] == first["here"] == second["here"]


def test_one_process_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.join() as ranks:
        assert ranks == distributed.ALONE
        assert ranks.total(1.0, 2.0) == [1.0, 2.0]


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(PconvError, match=r"device nope: not available here; allowed cpu, or cuda"):
        distributed.choose_device("nope", distributed.ALONE)
