"""No wrong answer is timed, and every contender meets the right weights."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pconv.bench import compare, session, timing
from pconv.bench.peers import Peer
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError

X = {"x": np.float32([[1, 2, 3]])}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "TURN_S", 0.0)
    monkeypatch.setattr(timing, "SETTLE_S", 0.0)
    monkeypatch.setattr(timing, "lock_path", lambda: tmp_path / "lock")


class Engine:
    """Multiply by a factor: an engine as `compare` sees it."""

    inputs = (SimpleNamespace(name="x", shape=(1, 3)),)

    def __init__(self, factor: float) -> None:
        self.factor, self.threads, self.used = np.float32(factor), 0, set[int]()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.used.add(self.threads)
        return x * self.factor


class FakePeer(Peer):
    """Multiply by the factor in the file's name, and by `wrong`; remember what was loaded."""

    title = "Fake"
    environment = Environment(("numpy",))
    isolated = False

    def __init__(self, name: str = "fake", wrong: float = 1.0) -> None:
        self.name = name  # type: ignore[misc]
        self.wrong, self.loaded = np.float32(wrong), list[tuple[str, int]]()

    def load(self, path: Path, threads: int) -> Any:
        self.loaded.append((path.name, threads))
        return lambda inputs: [inputs["x"] * np.float32(path.stem) * self.wrong]


class SparsePeer(FakePeer):
    prunable = True


class Unconvertible(FakePeer):
    """Fail to convert what it is given."""

    def must_convert(self, path: Path) -> bool:
        return True

    def load(self, path: Path, threads: int) -> Any:
        super().load(path, threads)
        raise PconvError("fake: it cannot be converted.")


class LoosePeer(FakePeer):
    max_rel_err = 0.01


def networks(dense: float = 2, pruned: float = 3) -> list[compare.Network]:
    return [
        compare.Network(Path("2"), Engine(dense), 1.0),  # type: ignore[arg-type]
        compare.Network(Path("3"), Engine(pruned), 8.0, 4),  # type: ignore[arg-type]
    ]


def test_what_failed_to_convert_is_not_converted_for_every_thread_count() -> None:
    peer, other, skipped = Unconvertible(), FakePeer("other"), list[tuple[str, str]]()
    results = compare.compare(
        "net", networks(), [other, peer], threads=(1, 2), seconds=0, on_skip=lambda *why: skipped.append(why)
    )
    assert peer.loaded == [("2", 1)] and skipped == [("fake", "fake: it cannot be converted.")]
    assert {(r.engine, r.threads) for r in results} == {(e, n) for e in ("other", "pconv") for n in (1, 2)}


def test_dense_runs_in_the_peer_and_both_in_ours() -> None:
    peer, both = FakePeer(), networks()
    results = compare.compare("net", both, [peer], threads=(1, 2), seconds=0)
    assert [(r.engine, r.threads, r.compression) for r in results] == [
        ("fake", 1, 1.0),
        ("pconv", 1, 1.0),
        ("pconv", 1, 8.0),
        ("fake", 2, 1.0),
        ("pconv", 2, 1.0),
        ("pconv", 2, 8.0),
    ]
    assert peer.loaded == [("2", 1), ("3", 1), ("2", 1), ("2", 2)]  # two references, then the timed ones
    assert [network.engine.used for network in both] == [{1, 2}, {1, 2}]  # type: ignore[attr-defined]
    for result in results:
        assert len(result.samples_ms) == timing.MIN_ROUNDS
        assert min(result.samples_ms) == result.min_ms <= result.median_ms
        assert result.max_rel_err == (None if result.engine == "fake" else 0.0)


@pytest.mark.parametrize(("dense", "pruned", "rate"), [(2.001, 3, 1), (2, 3.001, 8), (2, np.nan, 8)])
def test_a_wrong_answer_is_refused(dense: float, pruned: float, rate: int) -> None:
    message = (
        rf"net at {rate}x in pconv: the answer differs from the reference by .*; allowed 1e-04\. Nothing"
    )
    with pytest.raises(PconvError, match=message):
        compare.compare("net", networks(dense, pruned), [FakePeer()], seconds=0)


def test_of_integers_the_error_is_the_share_that_differs() -> None:
    places, masks = np.arange(20_000), np.ones(4, bool)
    other = np.where(places == 3, 9, places)
    assert compare.max_rel_err([other, masks], [places, masks]) == 1 / 20_000
    assert compare.max_rel_err([places, ~masks], [places, masks]) == 1.0
    assert compare.max_rel_err([places.astype(np.float32)], [places]) == 0.0


def test_a_peer_that_uses_zeros_runs_the_pruned_networks_too() -> None:
    results = compare.compare("net", networks(), [FakePeer(), SparsePeer("sparse")], seconds=0)
    assert [(r.engine, r.compression, r.group, r.max_rel_err) for r in results] == [
        ("fake", 1.0, 0, None),
        ("sparse", 1.0, 0, 0.0),
        ("sparse", 8.0, 4, 0.0),
        ("pconv", 1.0, 0, 0.0),
        ("pconv", 8.0, 4, 0.0),
    ]


def test_a_wrong_peer_is_left_out_and_the_bound_is_its_own() -> None:
    skipped: dict[str, str] = {}
    peers = [LoosePeer("loose", 1.005), FakePeer("wrong", 1.005), FakePeer("exact")]
    results = compare.compare(
        "net",
        networks(),
        [peers[2], *peers[:2]],
        seconds=0,
        on_skip=lambda peer, why: skipped.update({peer: why}),
    )
    assert [r.engine for r in results] == ["exact", "loose", "pconv", "pconv"]
    assert results[1].max_rel_err == pytest.approx(0.005, rel=1e-3)
    assert list(skipped) == ["wrong"]
    assert (
        "wrong: the answer differs from the reference by 5.0e-03 of its largest value; allowed 1e-04"
        in (skipped["wrong"])
    )


def test_a_peer_with_short_cuts_is_no_reference() -> None:
    loose, exact = LoosePeer("loose"), FakePeer("exact")
    assert compare.reference([loose, exact]) is exact
    assert compare.reference([loose]) is compare.PEERS["onnxruntime"]


def test_a_reference_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PconvError, match="fake: out of order"):
        compare.compare("net", networks(), [Broken()], seconds=0)


class Broken(FakePeer):
    def load(self, path: Path, threads: int) -> Any:
        raise PconvError("fake: out of order")


def test_without_a_peer_onnx_itself_is_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "PEERS", {})
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    path = tmp_path / "2.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    (output,) = compare.reference_outputs(path, X, [])
    np.testing.assert_array_equal(output, X["x"] * 2)
    (result,) = compare.compare("net", [compare.Network(path, Engine(2), 1.0)], [], seconds=0)  # type: ignore[arg-type]
    assert result.max_rel_err == 0


@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e-2))
def test_error_is_relative_to_the_largest_value(scale: float, error: float) -> None:
    expected = np.array([0.0, -scale, scale / 2])
    found = compare.max_rel_err([expected + [error * scale, 0, 0]], [expected])
    assert found == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(
    "outputs", [[], [np.zeros(2)], [np.zeros(3), np.zeros(3)], [np.full(3, np.nan)], [np.full(3, np.inf)]]
)
def test_what_does_not_compare_is_infinitely_wrong(outputs: list[np.ndarray]) -> None:
    assert compare.max_rel_err(outputs, [np.ones(3)]) == float("inf")


def test_inputs_are_the_same_every_time() -> None:
    first, second = (compare.random_inputs({"x": (1, 3), "z": (2,)}) for _ in range(2))
    assert {name: array.shape for name, array in first.items()} == {"x": (1, 3), "z": (2,)}
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_session_is_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Path] = []

    def compile(path: Path, progress: Any) -> Engine:
        compiled.append(path)
        progress("compile", 1, 2)
        return Engine(float(path.name))

    monkeypatch.setattr("pconv.compiler.compile", compile)
    monkeypatch.setattr(session.peak, "measure_if_possible", lambda: 100.0)
    events: list[tuple[str, float | None]] = []
    document: Mapping[str, Any] = session.run(
        "net",
        [(Path("2"), 1.0), (Path("3"), 8.0)],
        [FakePeer()],
        seconds=0,
        settings={"group": 4},
        on_event=lambda text, share: events.append((text, share)),
    )
    assert set(document) == {"machine", "settings", "peers", "skipped", "results"}
    assert document["peers"]["fake"]["max_rel_err"] == 1e-4 and document["skipped"] == {}
    assert document["settings"] == {"seconds": 0, "group": 4}
    assert document["machine"]["fma_peak_gflops"] == 100.0
    assert [result["group"] for result in document["results"]] == [0, 0, 4]
    assert [set(result) for result in document["results"]] == 3 * [
        {
            "model",
            "engine",
            "dtype",
            "threads",
            "compression",
            "group",
            "median_ms",
            "min_ms",
            "samples_ms",
            "max_rel_err",
        }
    ]
    assert compiled == [Path("2"), Path("3")]
    assert ("compile", 0.5) in events
