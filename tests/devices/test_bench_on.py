"""`pconv bench --device`: the model runs over there and here, answers are compared, both times are shown."""

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pconv.bench import on_device
from pconv.cli import main
from pconv.devices import Finished, connect
from pconv.errors import DeviceError

pytestmark = pytest.mark.cc
Phone = Callable[..., Path]
READY = "emulator-5554\tdevice model:Pixel_8"
NAME = "adb:emulator-5554"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution and a classifier."""
    draw = np.random.default_rng(0)
    weights = {"conv1.weight": draw.standard_normal((8, 3, 3, 3)), "fc.weight": draw.standard_normal((10, 8))}
    nodes = [
        helper.make_node("Conv", ["x", "conv1.weight"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["c"], "flatten"),
        helper.make_node("Gemm", ["c", "fc.weight"], ["y"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.mark.qemu
def test_bench_on_a_phone(
    phone: Phone, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = shutil.which("qemu-aarch64") or pytest.fail("this test needs qemu-aarch64 (Debian: qemu-user)")
    root = phone(READY, abi="arm64-v8a", runner=f"{qemu} -cpu cortex-a53")
    arguments = ["--device", NAME, "--threads", "1,2", "--cpus", "0", "--compression", "4"]
    code, out, err = run_cli(capsys, "bench", model, *arguments, "--json", tmp_path / "said.json")
    assert code == 0, err
    assert list(root.iterdir()) == []
    assert all(word in out for word in (NAME, "conv1", "fc", "2.55x", "1.00x", "micro-kernel there"))
    results = json.loads((tmp_path / "said.json").read_text())["results"]
    assert [(r["device"]["compression"], r["device"]["said"]["threads"]) for r in results] == [
        (1.0, 1),
        (1.0, 2),
        (2.55, 1),
        (2.55, 2),
    ]
    for result in results:
        assert result["device"]["platform"] == "android-arm64" and result["device"]["said"]["cpus"] == "0"
        assert result["host"]["device"] == "local" and result["max_rel_err"] <= 1e-4
        assert len(result["device"]["said"]["samples_ns"]) == 50 and result["device"]["median_ms"] > 0


def test_bench_over_ssh(
    ssh_server: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    code, out, err = run_cli(capsys, "bench", model, "--device", "ssh:board", "--json", "-")
    assert code == 0, err
    (result,) = json.loads(out)["results"]
    assert result["device"]["device"] == "ssh:board" and result["max_rel_err"] <= 1e-4
    assert {layer["name"] for layer in result["device"]["said"]["layers"]} >= {"conv1", "fc"}


@pytest.mark.opencl
def test_bench_a_gpu_over_ssh(
    ssh_server: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    arguments = ["--device", "ssh:board", "--target", "opencl-fp16", "--json", tmp_path / "said.json"]
    code, _, err = run_cli(capsys, "bench", model, *arguments)
    assert code == 0, err
    (result,) = json.loads((tmp_path / "said.json").read_text())["results"]
    said = result["device"]["said"]
    assert f"ssh:board: on {said['gpu']}" in err and ", driver " in said["gpu"]
    assert said["manifest"]["target"]["name"] == "opencl-fp16" and 0 < result["max_rel_err"] <= 2e-2
    layers = said["manifest"]["layers"]
    assert [layer["name"] for layer in said["layers"]] == [layer["name"] for layer in layers]
    assert all(layer["ns"] > 0 for layer in said["layers"])


@pytest.mark.opencl
@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs the loader of x86-64")
def test_bench_a_phones_gpu(phone: Phone, model: Path, bionic: str, capsys) -> None:
    """What Android's loader would start; this machine's stands for it."""
    root = phone(READY, abi="x86_64", runner=bionic)
    code, out, err = run_cli(capsys, "bench", model, "--device", NAME, "--target", "opencl", "--json", "-")
    assert code == 0, err
    (result,) = json.loads(out)["results"]
    assert result["device"]["platform"] == "android-x86_64" and result["max_rel_err"] <= 1e-4
    assert list(root.iterdir()) == []


def test_a_phone_without_opencl(ssh_server: str, model: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("PCONV_OPENCL_LIBRARY", "/nowhere.so")
    code, out, err = run_cli(capsys, "bench", model, "--device", "local", "--target", "opencl")
    assert (code, out) == (2, "")
    assert "local: pconv_bench failed: open: OpenCL: this machine has no libOpenCL." in err


def test_devices(phone: Phone, ssh_server: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    phone(READY, "x\tunauthorized")
    code, out, _ = run_cli(capsys, "devices")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        [NAME, "ready"],
        ["adb:x", "unauthorized"],
        ["ssh:board", "configured"],
    ]
    code, out, _ = run_cli(capsys, "devices", "--json")
    assert json.loads(out)[0] == {"name": NAME, "state": "ready", "detail": "Pixel 8"}


def test_devices_says_why_no_phone_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCONV_ADB", str(tmp_path / "none"))
    code, out, err = run_cli(capsys, "devices")
    assert code == 0 and "local" in out and "adb" not in out
    assert err == (
        "no phones are listed: adb is not here; install Android's platform tools, or name it in PCONV_ADB\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "adb:nope"], "adb:nope: no such device is connected; connected: adb:emulator-5554."),
        (["--device", "usb"], "device 'usb': no such kind; allowed adb:SERIAL, ssh:HOST, local."),
        (["--cpu", "aarch64"], "bench: --cpu is for a device, the comparison here is in fp32 for this"),
        (
            ["--device", "local", "--target", "linux-x86_64"],
            "--target linux-x86_64: the device's platform is its own; allowed a GPU's, opencl, opencl-fp16",
        ),
        (["--device", "local", "--cpu", "cortex-a76"], "cpu 'cortex-a76' is none of linux-"),
        (["--cpus", "0"], "bench: --cpus pins cores of a device; add --device"),
        (["--device", NAME], f"{NAME}: pconv_bench failed: open: this CPU lacks instructions"),
        (["--device", NAME, "--cpus", "big"], "--cpus big: allowed are numbers of cores, e.g. --cpus 4-7"),
        (["--device", "local", "--cpus", "999"], "local: pconv_bench failed: 999: the system does not let"),
    ],
)
def test_bench_errors(
    phone: Phone,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    broken = tmp_path / "runner"
    broken.write_text("#!/bin/sh\necho 'pconv_bench: error: open: this CPU lacks instructions' >&2\nexit 2\n")
    broken.chmod(0o755)
    phone(READY, abi="x86_64", runner=str(broken))
    code, out, err = run_cli(capsys, "bench", model, *arguments, "--json", tmp_path / "said.json")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"pconv: error: {message}")
    assert not (tmp_path / "said.json").exists()


def test_nothing_printed(phone: Phone, model: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho hello\n")
    silent.chmod(0o755)
    phone(READY, abi="x86_64", runner=str(silent))
    with connect(NAME) as device, pytest.raises(DeviceError, match=r"printed no result .* it said 'hello'\."):
        on_device.measure(model, device, [on_device.Settings(repeat=1)])


def test_wrong_answers_are_not_timed(model: Path) -> None:
    with connect("local") as device:
        (good,) = on_device.measure(model, device, [on_device.Settings(warmup=0, repeat=1)])
    bad = on_device.Measured("adb:x", "android-arm64", 1.0, good.said, good.outputs + 1)
    assert on_device.compare_answers(good, good) == 0.0
    with pytest.raises(
        DeviceError, match=r"^adb:x: its answer differs from this machine's by .*; allowed 1e-04\."
    ):
        on_device.compare_answers(good, bad)


def test_why_is_the_last_line() -> None:
    assert Finished(1, "a\n", "b\nc\n\n").why == "c"
    assert Finished(7, "", "").why == "exit code 7"
