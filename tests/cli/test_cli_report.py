"""`pconv report` leaves a page and a picture."""

import json
from pathlib import Path

import pytest


def test_report(cli, model: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", pruned, "--compression", "4.5").code == 0
    (tmp_path / "r.json").write_text('{"model": "tiny", "accuracy": 0.5, "compression_rate": 4.4}')
    out = tmp_path / ("page" * 30)  # a line longer than a pipe is taken to be wide
    ran = cli("report", pruned, "--dense", model, "--results", tmp_path / "r.json", "-o", out)
    assert ran.code == 0 and ran.out == f"wrote {out / 'index.html'} and {out / 'report.png'}\n"
    html = (out / "index.html").read_text()
    assert "conv2" in html and "Norm kept" in html and "50.00%" in html
    ran = cli("report", pruned, "-o", out, "--json")
    assert json.loads(ran.out)["layers"]["conv2"]["kernels_per_filter"] == [4, 4]
    assert "norm_kept" not in ran.out


def test_json_says_what_norm_is_kept(cli, model: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", pruned, "--compression", "4.5", "--exclude", "fc").code == 0
    said = json.loads(cli("report", pruned, "--dense", model, "-o", tmp_path / "page", "--json").out)
    norms = {name: layer["norm_kept"] for name, layer in said["layers"].items() if "norm_kept" in layer}
    assert set(norms) == {"conv1", "conv2"} and all(0.5 < norm < 1 for norm in norms.values())
    assert said["norm_kept"] == pytest.approx(sum(norms.values()) / 2)


def test_a_file_in_the_place_of_the_folder(cli, model: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", pruned, "--compression", "4.5").code == 0
    ran = cli("report", pruned, "-o", pruned)
    assert ran.code == 2 and f"{pruned}: cannot be written (File exists)." in ran.err


def test_nothing_is_left_where_nothing_is_pruned(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("report", model, "-o", tmp_path / "page")
    assert ran.code == 2 and "tiny: its weights hold no zeros" in ran.err
    assert not (tmp_path / "page").exists()
