"""Killed at any moment, a run goes on with the same result, bit by bit."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch

from pconv.errors import BuildError, PconvError
from pconv.training import checkpoint
from pconv.training.distributed import Ranks

pytestmark = pytest.mark.torch


def killed(folder: Path, when: str) -> None:
    done = subprocess.run(
        [sys.executable, tiny_run.__file__, str(folder), when], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("whole")
    run = tiny_run.loop(folder)
    run.run()
    return folder, run.module.state_dict()


def test_a_run_that_was_killed_twice_ends_in_the_same_bits(tmp_path: Path, uninterrupted) -> None:
    killed(tmp_path, "step:9")  # in the middle of the second epoch
    killed(tmp_path, "replace:2")  # the new checkpoint is written, and not yet in place
    assert list(tmp_path.glob(".*.part")), "the kill was meant to leave a draft"
    run = tiny_run.loop(tmp_path)
    assert run.resume()
    assert 0 < run.step < run.total
    run.run()
    whole, expected = uninterrupted
    state = run.module.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert lines(tmp_path) == lines(whole)
    assert not list(tmp_path.glob(".*.part"))


def test_a_finished_run_resumes_to_its_result(tmp_path: Path, uninterrupted) -> None:
    whole, expected = uninterrupted
    again = tiny_run.loop(whole)
    assert again.resume() and again.step == again.total
    again.run()
    assert all(torch.equal(value, expected[key]) for key, value in again.module.state_dict().items())


def test_killed_before_the_first_checkpoint_a_run_begins_again(tmp_path: Path, uninterrupted) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    run = tiny_run.loop(tmp_path)
    assert not run.resume()
    run.run()
    assert lines(tmp_path) == lines(uninterrupted[0])


def test_other_settings_are_refused(uninterrupted) -> None:
    whole, _ = uninterrupted
    with pytest.raises(PconvError, match=r"other settings \(lr was 0.1, is 0.2\)\. Resume with those"):
        tiny_run.loop(whole, lr=0.2).resume()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / checkpoint.FILE).write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(
        PconvError, match=r"checkpoint\.pt: cannot be read as a checkpoint; delete .*checkpoint\.pt to begin"
    ):
        tiny_run.loop(tmp_path).resume()


@pytest.mark.parametrize("other", [torch.zeros(3), [1], {"0.weight": torch.zeros(3)}, {"about": 1}])
def test_a_file_of_something_else_is_no_checkpoint(tmp_path: Path, other: object) -> None:
    torch.save(other, tmp_path / checkpoint.FILE)
    with pytest.raises(
        PconvError, match=r"checkpoint\.pt: cannot be read as a checkpoint; delete .*checkpoint\.pt"
    ):
        tiny_run.loop(tmp_path).resume()


@pytest.mark.parametrize("file", ["checkpoint.pt", "best-epoch*.pt"])
def test_a_bit_that_flipped_is_found(tmp_path: Path, uninterrupted, file: str) -> None:
    whole, expected = uninterrupted
    for path in whole.glob("*.pt"):
        shutil.copy(path, tmp_path)
    (path,) = tmp_path.glob(file)
    raw, weight = bytearray(path.read_bytes()), expected["8.bias"].numpy().tobytes()
    if file == checkpoint.FILE:
        weight = checkpoint.load(path)["module"]["8.bias"].numpy().tobytes()
    raw[raw.index(weight)] ^= 1
    path.write_bytes(raw)
    with pytest.raises(
        PconvError, match=rf"{path.name}: cannot be read .*; delete .*checkpoint\.pt to begin"
    ):
        tiny_run.loop(tmp_path).resume()


@pytest.mark.parametrize("change", [{"average": {}}, {"module": None}, {"step": ...}, {"about": "x"}])
def test_a_checkpoint_that_lacks_something_is_named(tmp_path: Path, uninterrupted, change: dict) -> None:
    state = checkpoint.load(uninterrupted[0] / checkpoint.FILE) | change
    torch.save({key: value for key, value in state.items() if value is not ...}, tmp_path / checkpoint.FILE)
    with pytest.raises(PconvError, match=r"checkpoint\.pt: cannot be read as a checkpoint; delete"):
        tiny_run.loop(tmp_path).resume()


def test_a_best_network_that_is_gone_says_what_to_delete(tmp_path: Path, uninterrupted) -> None:
    whole, _ = uninterrupted
    shutil.copy(whole / checkpoint.FILE, tmp_path)
    with pytest.raises(
        PconvError, match=r"best-epoch\d\.pt: cannot be read .*; delete .*checkpoint\.pt to begin"
    ):
        tiny_run.loop(tmp_path).resume()


def test_all_ranks_go_on_with_their_mean_loss(tmp_path: Path) -> None:
    class Two(Ranks):
        def total(self, *values: float) -> list[float]:
            return [value + 5.0 for value in values]  # the other one has 5

    run = tiny_run.loop(tmp_path, ranks=Two(0, 2))
    run.loss_sum = 3.0
    run._save()
    assert checkpoint.load(tmp_path / checkpoint.FILE)["loss_sum"] == 4.0


def test_an_unwritable_checkpoint_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"step": 1})

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pconv.files.shutil.copyfileobj", full)
        with pytest.raises(BuildError, match=r"No space left on device.*Free some space"):
            checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pt"]
