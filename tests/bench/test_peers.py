"""The peers: found by name, skipped with a reason, right within their own bounds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graph.reference import execute
from pconv.bench import peers
from pconv.bench.case import network as network_of
from pconv.bench.compare import max_rel_err
from pconv.bench.peers import __main__ as command
from pconv.bench.peers import base, running, torch_compile, tvm
from pconv.bench.registry import FAMILIES
from pconv.errors import PconvError

HERE = ("onnxruntime", "openvino", "ncnn", "mnn", "torch.compile", "onnxruntime-int8")
"""What the tests install. The others live apart: their environments take gigabytes."""


def test_unknown_peer() -> None:
    with pytest.raises(
        PconvError, match=r"peer 'tvn' is unknown; allowed onnxruntime, openvino, .*, or all\."
    ):
        peers.get("tvn")


def test_names_as_a_person_writes_them() -> None:
    assert peers.named("all") == list(peers.PEERS)
    assert peers.named(" ncnn, onnxruntime ,ncnn,") == ["onnxruntime", "ncnn"], (
        "the reference does not depend on order"
    )
    assert peers.named("") == []


def test_what_is_not_installed_is_said_with_its_command() -> None:
    ready, missing = peers.split(list(peers.PEERS))
    assert [peer.name for peer in ready] == list(HERE)
    assert missing == {
        "tflite": "tflite: onnx2tf is not installed; python -m pconv.bench.peers install onnx2tf",
        "tvm": "tvm: apache-tvm is not installed; python -m pconv.bench.peers install tvm",
        "deepsparse": "deepsparse: deepsparse is not installed; python -m pconv.bench.peers install deepsparse",
    }


def test_every_peer_is_data_and_a_looser_bound_has_a_reason() -> None:
    for name, peer in peers.PEERS.items():
        assert peer.name == name
        assert peer.environment.install.startswith(("pip install ", "python -m pconv.bench.peers install "))
        assert bool(peer.why_off) == (peer.max_rel_err > base.FP32_MAX_REL_ERR)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", HERE)
def test_peer_gives_the_right_answer(name: str, network: Path, image: dict[str, np.ndarray]) -> None:
    peer = peers.get(name)
    assert peer.version()[0].isdigit()
    expected = peers.get("onnxruntime").load(network, 1)(image)
    ready = running.start(peer, network, 1, image)
    try:
        error = max_rel_err(ready.answer(), expected)
        assert error <= peer.max_rel_err
        assert error > 1e-4 or peer.dtype == "float32", "int8 is not fp32 under another name"
        assert min(ready.turn(0.0)) > 0
    finally:
        ready.close()


def test_a_model_is_converted_once(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Copier()
    first = peer.converted(network)
    assert (first / "copy").read_bytes() == network.read_bytes()
    assert peer.converted(network) == first and peer.conversions == 1
    assert not list(first.parent.glob(".making-*"))


def test_another_model_or_version_is_converted_anew(network: Path, tmp_path: Path) -> None:
    peer, other = Copier(), tmp_path / "other.onnx"
    other.write_bytes(network.read_bytes() + b" ")
    same = tmp_path / "same.onnx"
    same.write_bytes(network.read_bytes())
    assert peer.converted(other) != peer.converted(network) == peer.converted(same)
    assert Newer().converted(network) != peer.converted(network)


def test_a_failed_conversion_leaves_nothing(network: Path) -> None:
    peer = Failing()
    with pytest.raises(PconvError, match=r"failing: the conversion failed: no such operator"):
        running.start(peer, network, 1, {})
    assert not peer.folder(network).exists()


def test_a_converter_that_makes_nothing_has_failed(tmp_path: Path) -> None:
    with pytest.raises(PconvError, match="the conversion failed: done"):
        base.run_converter(["echo", "done"], tmp_path, "model.bin")


@pytest.mark.parametrize("name", ["ncnn", "mnn", "tflite"])
def test_a_converter_that_writes_over_its_input_leaves_the_model_as_it_is(
    name: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = network.read_bytes()

    peer = peers.get(name)
    module = sys.modules[type(peer).__module__]
    made = [getattr(module, it) for it in ("_FILE", "_PARAM", "_BIN") if hasattr(module, it)]

    def overwrite(command: list[str | Path], cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        assert str(network) not in map(str, command)
        (cwd / "model.onnx").write_bytes(b"simplified")
        for file in made:
            (cwd / file).touch()
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(base.subprocess, "run", overwrite)
    peer.convert(network, tmp_path)
    assert network.read_bytes() == given
    assert {path.name for path in tmp_path.iterdir()} == set(made), "the copy is not kept"


def test_a_converter_that_runs_out_of_memory_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(PconvError, match="the conversion failed: SIGKILL ended it, as where memory runs out"):
        base.run_converter(["sh", "-c", "echo fine so far; kill -9 $$"], tmp_path, "model.bin")


def test_tflite_goes_on_from_what_its_converter_saved(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def killed_once(command: list[str | Path], cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        commands.append([str(word) for word in command])
        (cwd / ("saved_model.pb" if len(commands) == 1 else "model_float32.tflite")).touch()
        return subprocess.CompletedProcess(command, -9 if len(commands) == 1 else 0, "")

    monkeypatch.setattr(base.subprocess, "run", killed_once)
    peers.get("tflite").convert(network, tmp_path)  # type: ignore[attr-defined]
    assert [command[1] for command in commands] == ["-m", "-c"] and commands[0][0] == commands[1][0]
    compile(commands[1][2], "the second", "exec")
    assert [path.name for path in tmp_path.iterdir()] == ["model_float32.tflite"]


def test_inputs_are_converted_once() -> None:
    seen: list[Any] = []
    call = base.keeping_last(lambda inputs: seen.append(inputs) or len(seen), lambda fed: [np.full(1, fed)])
    first, second = {"x": np.zeros(1)}, {"x": np.zeros(1)}
    assert [call(x)[0][0] for x in (first, first, second, second, first)] == [1, 1, 2, 2, 3]


def test_an_untuned_tvm_is_never_timed(network: Path) -> None:
    with pytest.raises(
        PconvError, match=r"not tuned for this model and 2 threads; python -m .* tune "
    ) as refused:
        tvm.Tvm().load(network, 2)
    kept, *rest = str(refused.value).partition(" tune ")[2].split(" ")
    assert rest == ["--threads", "2"]
    assert Path(kept).read_bytes() == network.read_bytes(), "a network of the zoo has no file of its own"
    assert tvm.Tvm().tuned(Path(kept), 2) == tvm.Tvm().tuned(network, 2)
    assert tvm.Tvm().tuning(network, 2) is None


def test_a_tuned_tvm_says_how_it_was_tuned(network: Path) -> None:
    peer, record = tvm.Tvm(), {"trials": 900, "seconds": 60}
    peer.keep(peer.tuned(network, 3), lambda draft: write(draft / tvm.RECORD, json.dumps(record)))
    assert peer.tuning(network, 3) == record
    assert peer.tuning(network, 4) is None


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def test_the_command_lists_and_says_what_is_wrong(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["list"])
    assert "deepsparse         deepsparse: deepsparse is not installed" in capsys.readouterr().out
    for arguments, message in (
        (["install", "tvn"], "environment 'tvn' is unknown; allowed deepsparse, onnx2tf, tvm."),
        (["tune", str(network)], "tvm: apache-tvm is not installed; python -m pconv.bench.peers install tvm"),
    ):
        with pytest.raises(SystemExit) as stopped:
            command.main(arguments)
        assert stopped.value.code == 2
        assert capsys.readouterr().err == f"pconv: error: {message}\n"


class Copier(base.ConvertingPeer):
    """Convert a model by copying it."""

    name, title = "copier", "Copier"
    environment = base.Environment(("numpy",))

    def __init__(self) -> None:
        self.conversions = 0

    def convert(self, path: Path, folder: Path) -> None:
        self.conversions += 1
        (folder / "copy").write_bytes(path.read_bytes())

    def load(self, path: Path, threads: int) -> base.Call:
        return lambda inputs: list(inputs.values())


class Newer(Copier):
    environment = base.Environment(("onnx",))


class Failing(Copier):
    name = "failing"

    def convert(self, path: Path, folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("no such operator\nand more")


def test_torch_has_the_operators_as_they_are() -> None:
    """Whatever is handed to torch.compile is what the normalised graph says."""
    import torch

    cases = [case for family in FAMILIES.values() for case in family if case.op in torch_compile._OPERATORS]
    view = network_of(cases)
    feeds = {name: np.random.default_rng(0).random(view.shapes[name], np.float32) for name in view.inputs}
    with torch.inference_mode():
        results = torch_compile.module(view)(*map(torch.from_numpy, feeds.values()))
    for (name, want), got in zip(execute(view, feeds).items(), results, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4 * max(1, np.abs(want).max()), err_msg=name)
