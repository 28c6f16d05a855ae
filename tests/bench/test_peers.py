"""The peers: found by name, skipped with a reason, run as they run best."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pconv.bench import peers
from pconv.errors import PconvError


def test_unknown_peer() -> None:
    with pytest.raises(PconvError, match=r"peer 'tvm' is unknown; allowed onnxruntime. Choose one of those."):
        peers.get("tvm")


def test_missing_package_is_a_reason_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pconv.bench.peers.onnxruntime.util.find_spec", lambda name: None)
    ready, missing = peers.split(["onnxruntime"])
    assert ready == []
    assert missing == {"onnxruntime": "onnxruntime is not installed; pip install onnxruntime"}


def test_every_peer_goes_by_its_own_name_and_says_how_to_get_it() -> None:
    for name, peer in peers.PEERS.items():
        assert peer.name == name
        assert peer.install.startswith("pip install ")


def test_onnxruntime_runs_a_file(tmp_path: Path) -> None:
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "ab")
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3])
    nodes = [helper.make_node("Add", ["a", "b"], ["y"]), helper.make_node("Sub", ["a", "b"], ["z"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [a, b], [y, z]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "m.onnx")
    peer = peers.get("onnxruntime")
    assert peer.available() is None and peer.version()[0].isdigit()
    left, right = np.float32([[1, 2, 3]]), np.float32([[3, 2, 1]])
    total, difference = peer.load(tmp_path / "m.onnx", threads=1)({"b": right, "a": left})
    np.testing.assert_array_equal(total, left + right)
    np.testing.assert_array_equal(difference, left - right)
