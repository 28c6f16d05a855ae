"""`pconv compile --dtype` and `--cpu`: halves where a core has them, one file for several CPUs, else a message."""

import platform
from pathlib import Path

import numpy as np
import pytest

import pconv
from codegen.harness import TOLERANCE, run_library_under_qemu
from pconv import targets

pytestmark = [pytest.mark.cc, pytest.mark.qemu]


@pytest.mark.parametrize(("dtype", "core"), [("fp16", "cortex-a76"), ("fp16-fp32acc", "cortex-a53")])
def test_halves(
    cli, model: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray, dtype: str, core: str
) -> None:
    library = tmp_path / "m.so"
    ran = cli("compile", model, "-o", library, "--target", "linux-aarch64", "--dtype", dtype)
    assert ran.code == 0, ran.err
    done = run_library_under_qemu(library, x, tmp_path, core)
    assert done.returncode == 0, done.stderr
    y = np.frombuffer(done.stdout, np.float32).reshape(expected.shape)
    error = np.abs(y - expected).max() / np.abs(expected).max()
    assert 1e-6 < error <= TOLERANCE[dtype], "floats would be closer, wrong answers further"


def test_an_older_core_refuses_halves(cli, model: Path, tmp_path: Path, x: np.ndarray) -> None:
    library = tmp_path / "m.so"
    ran = cli("compile", model, "-o", library, "--target", "linux-aarch64", "--dtype", "fp16")
    assert ran.code == 0, ran.err
    done = run_library_under_qemu(library, x, tmp_path, "cortex-a53")
    assert (done.returncode, done.stderr.decode()) == (
        5,
        "this CPU lacks instructions that the model was compiled for (it needs asimd,fp,asimdhp,fphp)",
    )


@pytest.mark.parametrize(
    ("target", "dtype", "message"),
    [
        (
            "linux-x86_64",
            "fp16",
            "dtype 'fp16': target x86-64-v3 has none; allowed fp32. Compile for one of ",
        ),
        ("macos-x86_64", "fp16-fp32acc", "dtype 'fp16-fp32acc': target x86-64-v3 has none; allowed fp32. "),
        ("linux-aarch64", "half", "dtype 'half' is unknown; allowed fp32, fp16, fp16-fp32acc."),
    ],
)
def test_types_that_a_target_lacks(
    cli, model: Path, tmp_path: Path, target: str, dtype: str, message: str
) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--target", target, "--dtype", dtype)
    assert (ran.code, ran.out, list(tmp_path.iterdir())) == (2, "", [])
    assert ran.err.startswith(f"pconv: error: {message}") and ran.err.count("\n") == 1


@pytest.mark.parametrize(("core", "chosen"), [("cortex-a53", "aarch64"), ("cortex-a76", "aarch64-fp16")])
def test_a_file_for_old_and_new_cores(
    cli, model: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray, core: str, chosen: str
) -> None:
    library = tmp_path / "m.so"
    ran = cli("compile", model, "-o", library, "--target", "linux-aarch64", "--dtype", "fp32,fp16")
    assert ran.code == 0, ran.err
    done = run_library_under_qemu(library, x, tmp_path, core)
    assert done.returncode == 0, done.stderr
    y = np.frombuffer(done.stdout, np.float32).reshape(expected.shape)
    error = np.abs(y - expected).max() / np.abs(expected).max()
    least, most = {"aarch64": (0, TOLERANCE["fp32"]), "aarch64-fp16": (1e-6, TOLERANCE["fp16"])}[chosen]
    assert least < error <= most


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs code for x86-64")
def test_a_file_for_several_instruction_sets(
    cli, model: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray
) -> None:
    options = ("--target", "linux-x86_64", "--cpu", "x86-64-v3,x86-64-v4")
    ran = cli("compile", model, "-o", tmp_path / "m.so", *options)
    assert ran.code == 0, ran.err
    with pconv.load(tmp_path / "m.so") as engine:
        np.testing.assert_allclose(engine(x), expected, rtol=1e-4, atol=1e-4)
        assert engine.manifest["target"]["name"] == targets.native().name
        assert engine.manifest["variants"] == ["x86-64-v4", "x86-64-v3"]


def test_cores_that_no_feature_tells_apart(cli, model: Path, tmp_path: Path) -> None:
    options = ("--target", "android-arm64", "--cpu", "cortex-a55,cortex-a76")
    ran = cli("compile", model, "-o", tmp_path / "m.so", *options)
    assert (ran.code, list(tmp_path.iterdir())) == (2, [])
    assert ran.err.startswith(
        "pconv: error: one file for aarch64 on cortex-a55 and aarch64 on cortex-a76: every CPU"
    )
