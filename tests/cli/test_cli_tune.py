"""`pconv tune` and `pconv compile --tune` on a small model."""

import json
import platform
from pathlib import Path

import pytest

pytestmark = pytest.mark.cc


def test_tune_says_what_it_found(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("tune", model, "--seconds", "1", "--tuning", tmp_path / "t.json", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["layers"] == 2 and said["rounds"] >= 1 and said["path"] == str(tmp_path / "t.json")
    assert (said["tuned_ms"] < said["modelled_ms"]) == (tmp_path / "t.json").exists()


def test_tune_prints_one_line_of_result(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("tune", model, "--seconds", "1", "--tuning", tmp_path / "t.json")
    assert ran.code == 0, ran.err
    assert " round" in ran.out and " of 2 kinds of layer improved; the network " in ran.out


def test_compile_tunes_first(cli, model: Path, tmp_path: Path) -> None:
    tuned = ("--tune", "1", "--tuning", tmp_path / "t.json")
    ran = cli("compile", model, "-o", tmp_path / "m.so", *tuned)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"wrote {tmp_path / 'm.so'}, ")


def test_tuning_first_is_for_this_machine(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--tune", "1", "--target", "aarch64")
    assert ran.code == 2
    assert "--tune: it measures on this machine, for this machine; leave --target and --cpu out" in ran.err


def test_tuning_first_is_for_one_type(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--tune", "1", "--dtype", "fp16,fp32")
    assert ran.code == 2
    assert "--tune --dtype fp16,fp32: one type is tuned at a time; tune each first with" in ran.err


def test_another_machine_needs_a_device(cli, model: Path, tmp_path: Path) -> None:
    other = "linux-x86_64" if platform.machine() in ("aarch64", "arm64") else "linux-aarch64"
    ran = cli("tune", model, "--seconds", "1", "--target", other, "--tuning", tmp_path / "t.json")
    assert ran.code == 2
    assert "name a device that can run it, e.g. --device adb:SERIAL." in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("tune",), ("compile", "-o", "m.so", "--tune", "1")])
def test_a_tuning_file_that_cannot_be_written_is_refused_first(
    cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pconv.tune.read_model", lambda *_: pytest.fail("it began to work"))
    ran = cli(*command, model, "--tuning", "/dev/null/t.json")
    assert ran.code == 2
    assert ran.err.endswith(
        "/dev/null/t.json: cannot be written (Not a directory). Name another file with --tuning.\n"
    )


def test_a_file_that_is_no_tuning_file(cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("not JSON")
    for command in (("tune", model, "--seconds", "1"), ("compile", model, "-o", tmp_path / "m.so")):
        ran = cli(*command, "--tuning", tmp_path / "t.json")
        assert ran.code == 2 and ran.out == ""
        assert f"{tmp_path / 't.json'}: this is no tuning file of pconv" in ran.err
    assert not (tmp_path / "m.so").exists()
