"""`pconv bench` on a small model."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pconv.bench import peers, session, timing
from pconv.bench.peers.environment import Environment
from pconv.cli import bench
from pconv.errors import PconvError

pytestmark = pytest.mark.cc


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "TURN_S", 0.0)
    monkeypatch.setattr(timing, "lock_path", lambda: tmp_path / "lock")
    monkeypatch.setattr(session.peak, "measure_if_possible", lambda: None)


def test_three_contenders_into_a_file(cli, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    ran = cli("bench", model, "--compression", "9", "--rate-fc", "1", "--seconds", "0", "--json", path)
    assert ran.code == 0, ran.err
    document = json.loads(path.read_text())
    assert [(r["model"], r["engine"], r["compression"]) for r in document["results"]] == [
        ("tiny", "onnxruntime", 1.0),
        ("tiny", "pconv", 1.0),
        ("tiny", "pconv", 3.98),
    ]
    assert all((r["max_rel_err"] or 0) <= 1e-4 for r in document["results"])
    assert document["settings"] == {"seconds": 0, "compression_rate": 9.0, "rate_fc": 1.0}
    assert document["machine"]["versions"]["onnxruntime"]
    assert "3.98x" in ran.out and "9.00x" not in ran.out and "reference" in ran.out


def test_json_on_stdout_is_nothing_but_json(cli, model: Path) -> None:
    ran = cli("bench", model, "--seconds", "0", "--peers", "", "--threads", "1,2", "--json", "-")
    assert [r["threads"] for r in json.loads(ran.out)["results"]] == [1, 2]


def test_missing_peer_is_skipped_with_its_install_command(
    cli, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Environment, "_find", lambda self, package: None)
    ran = cli("bench", model, "--seconds", "0", "--json", "-")
    assert ran.code == 0, ran.err
    reason = "onnxruntime: onnxruntime is not installed; pip install onnxruntime"
    assert f"skipped: {reason}" in ran.err
    assert json.loads(ran.out)["skipped"] == {"onnxruntime": reason}


def test_a_pruned_file_is_not_called_dense(cli, model: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", pruned, "--compression", "9").code == 0
    ran = cli("bench", pruned, "--seconds", "0")
    assert "speed-up on 1 thread: over onnxruntime, on the weights at 6.26x" in ran.err, ran.err


@pytest.mark.parametrize("asked", [("9",), ("2.25", "--patterns", "elog4")])
def test_a_pruned_file_pruned_again_is_compared_with_the_file_given(
    cli, model: Path, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    pruned = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", pruned, "--compression", "4.5").code == 0
    ran = cli("bench", pruned, "--compression", *asked, "--peers", "", "--seconds", "0")
    assert ran.code == 0, ran.err
    assert "speed-up on 1 thread: over pconv, on the weights at 3.90x" in ran.err
    rates = [float(row.split()[2].rstrip("x")) for row in ran.out.splitlines()[1:] if row]
    assert min(rates) == 3.9 and max(rates) > 4


def test_the_file_given_is_the_base_where_both_have_one_rate() -> None:
    row = {"engine": "pconv", "dtype": "float32", "threads": 1, "compression": 4.0}
    given, again = row | {"group": 0, "median_ms": 2.0}, row | {"group": 4, "median_ms": 1.0}
    assert bench._bases([again, given]) == {1: given}


@pytest.mark.parametrize("device", [(), ("--device", "local")])
def test_a_rate_that_prunes_nothing_is_refused(cli, model: Path, tmp_path: Path, device) -> None:
    pruned = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", pruned, "--compression", "4.5").code == 0
    ran = cli("bench", pruned, "--compression", "4.5", "--seconds", "0", *device)
    assert ran.code == 2 and ran.out == ""
    assert f"--compression 4.5: it prunes nothing of {pruned}, whose weights are at 3.90x. Leave" in ran.err


def test_layers_stay_dense_as_a_refused_rate_says(cli, model: Path) -> None:
    ran = cli("bench", model, "--compression", "2", "--seconds", "0")
    assert ran.code == 2
    assert 'Leave it dense with --exclude conv2, in a recipe with exclude = ["conv2"].' in ran.err
    ran = cli("bench", model, "--compression", "2", "--exclude", "conv2", "--seconds", "0", "--json", "-")
    assert ran.code == 0, ran.err
    assert [r["compression"] for r in json.loads(ran.out)["results"]] == [1.0, 1.0, 1.15]


def test_two_nodes_of_one_name(cli, model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    for node in proto.graph.node:
        node.name = "same"
    onnx.save(proto, tmp_path / "same.onnx")
    ran = cli("bench", tmp_path / "same.onnx", "--compression", "9", "--seconds", "0", "--json", "-")
    assert ran.code == 0, ran.err
    assert [r["engine"] for r in json.loads(ran.out)["results"]] == ["onnxruntime", "pconv", "pconv"]


def test_peers_of_several_kinds_the_fastest_first(cli, model: Path) -> None:
    ran = cli("bench", model, "--seconds", "0", "--peers", "openvino,onnxruntime-int8,deepsparse")
    assert ran.code == 0, ran.err
    rows = [line.split() for line in ran.out.splitlines()[1:] if line]
    assert {row[0] for row in rows} == {"openvino", "onnxruntime-int8", "pconv"}
    times = [float(row[3]) for row in rows]
    assert times == sorted(times)
    assert "speed-up on 1 thread: over openvino, dense" in ran.err
    assert "onnxruntime-int8 may be off by 0.2 of the largest value: 8 bits" in ran.err
    assert "skipped: deepsparse: deepsparse is not installed" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "tvn"], "peer 'tvn' is unknown; allowed onnxruntime, openvino,"),
        (["--threads", "0"], "--threads 0: allowed are counts of at least 1"),
        (["--group", "4"], "pruning options without a rate; add --compression"),
        (["--compression", "8", "--group", "3"], "group: 3 is unknown;"),
        (
            ["--json", "/dev/null/b.json"],
            "/dev/null/b.json: cannot be written (Not a directory). Choose another place with --json.",
        ),
    ],
)
def test_errors(
    cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pconv.bench.machine.busy", lambda: "the machine is busy")
    ran = cli("bench", model, "--seconds", "0", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.startswith(f"pconv: error: {message}") and ran.err.count("\n") == 1


def test_a_busy_machine_is_mentioned(cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pconv.bench.machine.load_average", lambda: 7.5)
    monkeypatch.setattr("pconv.bench.machine.usable_cores", lambda: 2)
    ran = cli("bench", model, "--seconds", "0", "--peers", "")
    assert "the machine is busy (load 7.5 on 2 cores): expect noisy timings" in ran.err


def test_sizes_that_a_file_leaves_open_and_half_precision(cli, tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float16), "w")
    body = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "open",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, ("N", 3, "h", "w"))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, None)],
        [weights],
    )
    path = tmp_path / "open sizes ä.onnx"
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    refused = cli("bench", path, "--seconds", "0")
    assert refused.code == 2 and "input x: its shape Nx3xhxw is not fixed" in refused.err
    ran = cli("bench", path, "--seconds", "0", "--input", "x=1,3,8,8", "--json", "-")
    assert ran.code == 0, ran.err
    results = json.loads(ran.out)["results"]
    assert [(r["engine"], r["dtype"]) for r in results] == [("onnxruntime", "float32"), ("pconv", "float32")]


def test_a_file_that_the_reference_cannot_run_is_no_bug(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(PconvError, match=r"^ONNX Runtime: .*INVALID_PROTOBUF"):
        peers.get("onnxruntime").load(path, 1)
