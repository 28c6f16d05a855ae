"""`pconv export` on a small model: what it writes runs, and errors leave nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import pconv
from pconv import targets

pytestmark = pytest.mark.cc
HERE = "linux-x86_64" if targets.native().arch == "x86_64" else "linux-aarch64"


def test_export_writes_a_folder_that_runs(
    cli, model: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray
) -> None:
    options = ("--target", HERE, "--gpu", "opencl-fp16", "--name", "Net", "--json")
    ran = cli("export", model, "-o", tmp_path / "out", *options)
    said = json.loads(ran.out)
    assert (ran.code, said["name"], said["platform"]) == (0, "net", HERE)
    assert {"include/net.h", "gpu/net.pcl"} <= set(said["files"])
    assert "the model for opencl-fp16:" in (tmp_path / "out" / "gpu" / "README.md").read_text()
    library = tmp_path / "out" / "lib" / HERE / "libnet.so"
    np.testing.assert_allclose(pconv.load(library)(x), expected, rtol=1e-4, atol=1e-4)


def test_export_prunes_on_the_way_and_says_where_to_begin(cli, model: Path, tmp_path: Path) -> None:
    arguments = ["--target", "ios-arm64", "--cpu", "apple-m1", "--compression", "9"]
    ran = cli("export", model, "-o", tmp_path / "out", *arguments)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"wrote {tmp_path / 'out'}: tiny for ios-arm64, ")
    assert ran.out.endswith(f"begin with {tmp_path / 'out' / 'README.md'}\n")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "| input 0 | `x` | 1x3x8x8 | float32 |" in readme and "for aarch64 on apple-m1." in readme


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "z80"], "target 'z80' is unknown; allowed native, linux-x86_64"),
        (
            ["--target", "android-arm64", "--cpu", "x86-64-v4"],
            "cpu 'x86-64-v4' is none of android-arm64; allowed",
        ),
        (["--name", "!"], "name '!': no name for a C library"),
        (["--gpu", "linux-x86_64"], "GPU 'x86-64-v3': no target for one; allowed opencl, "),
        (["--gpu", "opencl", "--target", "ios-arm64"], "target ios-arm64: apps there have no OpenCL"),
        (
            ["--gpu-tuning", "gpu.json"],
            "--gpu-tuning gpu.json: nothing is written for a GPU; add --gpu, e.g. ",
        ),
        (["--cc", "no-such-cc"], "C compiler 'no-such-cc': it does not run"),
    ],
)
def test_export_errors_leave_nothing(
    cli, model: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ran = cli("export", model, "-o", tmp_path / "out", *arguments)
    assert ran.code == 2 and ran.out == "" and ran.err.startswith(f"pconv: error: {message}")
    assert ran.err.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_an_export_does_not_replace_the_model_nor_where_one_stands(
    cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert cli("export", model, "-o", out, "--target", "ios-arm64").code == 0
    inside = Path(shutil.copy(model, out / "m.onnx"))
    ran = cli("export", inside, "-o", out, "--target", "ios-arm64")
    assert ran.code == 2 and inside.exists()
    assert ran.err.startswith(
        f"pconv: error: -o {out}: the model lies in it, and an export replaces it whole. "
    )
    records = out / "records.json"
    records.write_text("{}")
    ran = cli("export", model, "-o", out, "--target", "ios-arm64", "--tuning", records)
    assert ran.code == 2 and records.exists() and f"-o {out}: the file of tuning lies in it" in ran.err
    monkeypatch.chdir(out / "src")
    for here in (".", ".."):
        ran = cli("export", model, "-o", here, "--target", "ios-arm64")
        assert ran.code == 2 and inside.exists()
        assert ran.err.startswith(
            f"pconv: error: {here}: it is or holds the current folder, and an export replaces "
        )


def test_compile_for_ios_says_export(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--target", "ios-arm64")
    assert ran.code == 2 and "apps there link models statically; allowed `pconv export" in ran.err
    assert list(tmp_path.iterdir()) == []
