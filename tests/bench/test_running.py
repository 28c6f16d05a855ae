"""A worker answers as the engine does here, times itself, and says why it ended."""

from pathlib import Path

import numpy as np
import pytest

from pconv.bench import timing
from pconv.bench.peers import get, running
from pconv.errors import PconvError

Image = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def worker(network: Path, image: Image):
    with running.Worker(get("onnxruntime"), network, 1, image) as ready:
        yield ready


def test_the_answer_is_that_of_the_engine(worker: running.Worker, network: Path, image: Image) -> None:
    expected = get("onnxruntime").load(network, 1)(image)
    for _ in range(2):
        np.testing.assert_array_equal(worker.answer(), expected)


def test_it_times_its_own_calls(worker: running.Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "turn", lambda call, seconds: pytest.fail("timed on this side of the pipe"))
    monkeypatch.setattr(timing, "TURN_S", 0.0)
    samples = timing.interleave({"there": worker}, seconds=0, min_rounds=3, warmup=1)
    assert len(samples["there"]) == 3 and min(samples["there"]) > 0
    assert len(worker.turn(0.02)) > 1


def test_a_model_that_it_cannot_read_is_one_line(tmp_path: Path, image: Image) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(PconvError, match=r"^onnxruntime: ONNX Runtime: .*INVALID_PROTOBUF.*$") as failed:
        running.Worker(get("onnxruntime"), broken, 1, image)
    assert "\n" not in str(failed.value)


def test_a_process_that_dies_is_an_error(network: Path, image: Image) -> None:
    with running.Worker(get("onnxruntime"), network, 1, image) as ready:
        ready._process.kill()
        ready._process.wait()
        with pytest.raises(PconvError, match=r"onnxruntime: its process ended with code -9: "):
            ready.turn(0.0)
    assert not Path(ready._folder.name).exists()


def test_it_ends_when_it_is_closed(network: Path, image: Image) -> None:
    ready = running.Worker(get("onnxruntime"), network, 1, image)
    ready.close()
    assert ready._process.returncode == 0
    assert not Path(ready._folder.name).exists()


def test_only_isolated_peers_get_a_process(network: Path, image: Image) -> None:
    here = running.start(get("onnxruntime"), network, 1, image)
    assert isinstance(here, running.Here)
    assert len(here.turn(0.0)) == 1
    here.close()
