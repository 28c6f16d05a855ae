"""The demo goes the whole way, says what it does, and refuses to time wrong answers."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from pconv import load
from pconv.demo import data, jobs, run
from pconv.demo.result import Event
from pconv.errors import BuildError, PconvError

pytestmark = pytest.mark.torch


class FakeEngine:
    """Stands for a compiled model: runs its ONNX file in ONNX Runtime, `error` off the truth."""

    def __init__(self, path: Path, error: float) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.inputs = [SimpleNamespace(name=self.session.get_inputs()[0].name)]
        self.error = error

    def __call__(self, x: np.ndarray) -> np.ndarray:
        name = self.inputs[0].name
        rows = [self.session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))]
        return np.concatenate(rows) * np.float32(1 + self.error)

    def save(self, path: Path) -> Path:
        path.write_bytes(b"compiled")
        return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the digits demo a matter of seconds: no training to speak of, few pictures."""

    def untrained(images: data.Dataset, progress: object) -> torch.nn.Module:
        torch.manual_seed(0)
        return jobs.DigitsNet().eval()

    job = replace(
        jobs.JOBS["digits"],
        dense=untrained,
        data=lambda: replace(data.digits(), test=data.digits().test.part(slice(0, 60))),
        tune_images=64,
        settings={"epochs": 1, "lr": 0.01, "batch": 32},
    )
    monkeypatch.setitem(jobs.JOBS, "digits", job)


@pytest.fixture
def compiler(quick: None, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace the compiler."""
    settings = SimpleNamespace(error=0.0)
    module = ModuleType("pconv.compiler")
    module.compile = lambda path, threads: FakeEngine(path, settings.error)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pconv.compiler", module)
    return settings


def test_fills_the_result(compiler: SimpleNamespace, tmp_path: Path) -> None:
    events: list[Event] = []
    result = run.run("digits", seconds=0.01, folder=tmp_path, on_event=events.append)

    assert set(result.samples_ms) == {"pconv dense", "pconv pruned", "onnxruntime dense"}
    assert all(min(samples) > 0 for samples in result.samples_ms.values())
    assert max(result.max_rel_err.values()) < 1e-4
    assert 0.0 <= result.accuracy_pruned <= 1.0
    assert result.recipe == jobs.JOBS["digits"].recipe
    assert result.sparsity.layers["features.3"].compression_rate == 8.0
    assert result.sparsity.layers["classifier"].sparsity == 0.0
    assert result.parameter_bytes_dense == 4 * sum(p.numel() for p in jobs.DigitsNet().parameters())
    assert result.compression_rate == result.parameter_bytes_dense / result.parameter_bytes_pruned
    assert 5.5 < result.compression_rate < 8.0
    assert {file.name for file in tmp_path.iterdir()} == {
        f"digits-{kind}{suffix}" for kind in ("dense", "pruned") for suffix in (".onnx", ".so")
    }
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == list(result.seconds)
    assert stages == ["data", "train", "prune and fine-tune", "compile", "check", "score", "time"]
    assert any(event.share == 0.5 and event.note.startswith("loss") for event in events)


def test_refuses_to_time_wrong_answers(compiler: SimpleNamespace) -> None:
    compiler.error = 1e-3
    events: list[Event] = []
    with pytest.raises(
        PconvError,
        match=r"^pconv dense: the answer differs from the reference by 1.0e-03 .*Nothing was timed",
    ):
        run.run("digits", seconds=0.01, on_event=events.append)
    assert "time" not in {event.stage for event in events}


@pytest.mark.cc
@pytest.mark.slow
def test_with_the_real_compiler(quick: None, tmp_path: Path) -> None:
    result = run.run("digits", seconds=0.01, folder=tmp_path)
    assert max(result.max_rel_err.values()) < 1e-4
    assert result.compression_rate > 7.5
    assert result.file_bytes_pruned < result.file_bytes_dense / 3
    engine = load(tmp_path / "digits-pruned.so")
    assert engine(np.zeros((2, 1, 16, 16), np.float32)).shape == (2, 10)


def test_unknown_datasets() -> None:
    with pytest.raises(PconvError, match=r"^demo: dataset 'mnist' is unknown; allowed digits, cifar10\."):
        jobs.find_job("mnist")


def test_folders_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BuildError, match=r"file/models: cannot be written .* Choose another folder with -o\."),
        run._place(tmp_path / "file" / "models"),
    ):
        pass


@pytest.mark.slow
def test_the_digits_demo_loses_at_most_half_a_point() -> None:
    from pconv.demo.train import accuracy

    job = jobs.find_job("digits")
    images = job.data()
    dense = job.dense(images, lambda share, note: None)
    pruned, _ = run._prune(job, dense, images.train, lambda share, note: None)
    dense_accuracy, pruned_accuracy = accuracy(dense, images.test), accuracy(pruned, images.test)
    assert dense_accuracy >= 0.975
    assert pruned_accuracy >= dense_accuracy - 0.005
