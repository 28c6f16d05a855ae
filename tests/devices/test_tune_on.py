"""`pconv tune --device`: the search runs over there, and its records are for that processor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_bench_on import NAME, READY, model, run_cli

from pconv import targets, tuning
from pconv.codegen.program import Program
from pconv.devices import Finished, connect
from pconv.errors import DeviceError
from pconv.runtime.opencl_device import device_identity
from pconv.runtime.opencl_file import read_opencl_file
from pconv.trial import There
from pconv.tune import tune

__all__ = ["model"]  # the fixture

pytestmark = pytest.mark.cc
Phone = Callable[..., Path]


@pytest.mark.qemu
def test_tune_on_a_phone(
    phone: Phone, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = shutil.which("qemu-aarch64") or pytest.fail("this test needs qemu-aarch64 (Debian: qemu-user)")
    root = phone(READY, abi="arm64-v8a", runner=f"{qemu} -cpu cortex-a53")
    file = tmp_path / "phone.json"
    arguments = ["--device", NAME, "--cpu", "cortex-a76", "--seconds", "1", "--tuning", file]
    code, out, err = run_cli(capsys, "tune", model, *arguments, "--json")
    assert code == 0, err
    assert list(root.iterdir()) == []
    said = json.loads(out)
    assert said["layers"] == 1 and said["rounds"] >= 1
    assert file.exists() == (said["tuned_ms"] < said["modelled_ms"])


def test_records_are_for_the_devices_processor(
    phone: Phone, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose every new executable is faster; the executables are not run."""
    phone(READY, abi="arm64-v8a")
    took = {"modelled": 900, "tried": 500}
    pushed: list[str] = []

    def run(self: object, file: str, *arguments: str, timeout_s: float = 0) -> Finished:
        manifest = manifests[file]
        layers = [{"name": layer["name"], "ns": took[file]} for layer in manifest["layers"]]
        said = {"cpu": "0x41 0xd0b", "batch": 2, "samples_ns": [took[file]], "manifest": manifest}
        return Finished(0, json.dumps(said | {"layers": layers}), "")

    def build(program: Program, out: Path, **_: object) -> Path:
        manifests[out.name] = program.manifest
        out.write_text("an executable")
        return out

    manifests: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr("pconv.trial.build_bench", build)
    monkeypatch.setattr("pconv.devices.shell.ShellDevice.run", run)
    monkeypatch.setattr(
        "pconv.devices.shell.ShellDevice.push", lambda self, source, file: pushed.append(file)
    )
    file = tmp_path / "phone.json"
    with connect(NAME) as device:
        found = tune(model, device=device, cpu="cortex-a76", seconds=0.1, path=file)
    assert pushed[0] == "modelled" and set(pushed[1:]) == {"tried"}
    assert json.loads(file.read_text())["cpu"] == "0x41 0xd0b, aarch64"
    target = targets.get("android-arm64", "cortex-a76")
    (record,) = tuning.load(file, target, tuning.ANY).records.values()
    assert record.ratio == round(500 / 900, 4) and found.improved
    assert found.modelled_ms == pytest.approx(900e-6 / 2)  # for an image
    assert tuning.load(file, target).missing.startswith("not tuned: the records are for CPU 0x41 0xd0b")


@pytest.mark.opencl
def test_tune_a_gpu_over_ssh(
    ssh_server: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The records are those of its GPU and driver, and any machine compiles with them."""
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    file = tmp_path / "gpu.json"
    monkeypatch.setattr("pconv.tune._milliseconds", lambda *_: [2.0, 1.0])  # so that it is worth recording
    options = ["--target", "opencl-fp16", "--tuning", file]
    code, _, err = run_cli(capsys, "tune", model, "--device", "ssh:board", "--seconds", "1", *options)
    assert code == 0, err
    cpu = json.loads(file.read_text())["cpu"]
    assert cpu == f"{device_identity()}, opencl-fp16"
    monkeypatch.setattr("pconv.compiler.device_identity", lambda: "another GPU")
    code, _, err = run_cli(capsys, "compile", model, *options, "-o", tmp_path / "m.pcl")
    assert code == 0, err
    reasons = [layer["reason"] for layer in read_opencl_file(tmp_path / "m.pcl").manifest["layers"]]
    assert any("tuned: " in reason for reason in reasons)


def test_a_device_that_prints_no_result(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    phone(READY, abi="arm64-v8a")
    monkeypatch.setattr("pconv.trial.push_bench", lambda *_: [])
    monkeypatch.setattr(
        "pconv.devices.shell.ShellDevice.run", lambda *_, **__: Finished(139, "", "Segmentation fault")
    )
    with (
        connect(NAME) as device,
        pytest.raises(DeviceError, match=r"tried printed no result \(exit code 139\)"),
    ):
        There(None, device, "tried", 1, "", None).profile()  # type: ignore[arg-type]


def test_cores_without_a_device(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_cli(capsys, "tune", model, "--cpus", "0")
    assert code == 2 and "--cpus is for --device" in err
