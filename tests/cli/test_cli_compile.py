"""`pconv compile`, `pconv run` and `pconv inspect` on a small model."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import pconv
from e2e.whole import write
from pconv.cli import arrays
from pconv.tuning import Tuning

pytestmark = pytest.mark.cc
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x08\x00\x00\x00\x08\x08\x02\x00\x00\x00Km)\xdc"
"""How a picture of 8x8 begins."""


def test_compile_writes_a_library_that_runs(
    cli, model: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray
) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"wrote {tmp_path / 'm.so'}, ")
    assert [path.name for path in tmp_path.iterdir()] == ["m.so"]
    np.testing.assert_allclose(pconv.load(tmp_path / "m.so")(x), expected, rtol=1e-4, atol=1e-4)


def test_compile_json(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--json")
    said = json.loads(ran.out)
    assert (ran.err, said["bytes"]) == ("", (tmp_path / "m.so").stat().st_size)


def test_compile_prunes_on_the_way(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--compression", "9")
    assert ran.code == 0, ran.err
    layers = {layer["name"]: layer for layer in pconv.load(tmp_path / "m.so").manifest["layers"]}
    assert layers["conv2"]["macs"] < layers["conv2"]["dense_macs"]


def test_compile_for_batches(cli, model: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", "--fold", "2")
    assert ran.code == 0, ran.err
    with pconv.load(tmp_path / "m.so") as engine:
        assert engine.manifest["fold"] == 2
        for answer in np.split(engine(np.concatenate([x] * 3)), 3):
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)
    ran = cli("inspect", model, "--stage", "plan", "--fold", "2")
    assert "; 2 images side by side)" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "z80"], "target 'z80' is unknown; allowed native, "),
        (["--dense", "nope"], "there is no layer 'nope'"),
        (["--cc", "no-such-cc"], "C compiler 'no-such-cc': it does not run"),
        (["--input", "x"], "--input x: allowed NAME=N,C,H,W"),
        (["--group", "4"], "pruning options without a rate; add --compression"),
        (["--fold", "3"], "fold: 3 images cannot share the lanes of "),
        (
            ["--fold", "2", "--target", "opencl"],
            "fold: 2 images cannot share the lanes of opencl; allowed 1.",
        ),
    ],
)
def test_compile_errors_leave_nothing(
    cli, model: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ran = cli("compile", model, "-o", tmp_path / "m.so", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.startswith(f"pconv: error: {message}") and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_compile_to_a_place_that_is_none(cli, model: Path) -> None:
    ran = cli("compile", model, "-o", "/dev/null/m.so")
    assert ran.code == 2
    assert "/dev/null/m.so: cannot be written (Not a directory). Choose another place with -o." in ran.err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("compile",), "-o"),
        (("prune",), "-o"),
        (("recipe", "--macs", "1M"), "-o"),
        (("forecast", "--seconds", "0"), "--json"),
        (("bench",), "--json"),
    ],
)
def test_the_model_is_not_replaced(
    cli, model: Path, tmp_path: Path, command: tuple[str, ...], option: str
) -> None:
    path = Path(shutil.copy(model, tmp_path / "m.onnx"))
    (tmp_path / "link.onnx").symlink_to(path)
    for output in (path, tmp_path / "link.onnx"):
        ran = cli(*command, path, option, output)
        assert ran.code == 2
        assert ran.err.endswith(
            f"pconv: error: {output}: this is the model itself, which it would replace. Choose another place with "
            f"{option}.\n"
        )
    assert path.read_bytes() == model.read_bytes()


def test_what_a_result_is_made_from_is_not_replaced(
    cli, model: Path, compiled: Path, x: np.ndarray, tmp_path: Path
) -> None:
    array, recipe, records = (tmp_path / name for name in ("x.npy", "r.toml", "t.json"))
    np.save(array, x)
    recipe.write_text("compression_rate = 9.0\n")
    records.write_text("{}")
    for what, arguments in {
        "input": ("run", compiled, "--input", array, "-o", array),
        "recipe": ("prune", model, "--recipe", recipe, "-o", recipe),
        "file of tuning": ("compile", model, "--tuning", records, "-o", records),
    }.items():
        before = Path(arguments[-1]).read_bytes()
        ran = cli(*arguments)
        assert ran.code == 2 and f"{arguments[-1]}: this is the {what} itself, which it would" in ran.err
        assert Path(arguments[-1]).read_bytes() == before


def test_run_reads_and_writes_arrays(
    cli, compiled: Path, tmp_path: Path, x: np.ndarray, expected: np.ndarray
) -> None:
    np.save(tmp_path / "x.npy", x)
    for given in (f"{tmp_path}/x.npy", f"x={tmp_path}/x.npy"):
        ran = cli("run", compiled, "--input", given, "-o", tmp_path / "y.npy", "--top", "3")
        assert ran.code == 0, ran.err
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-4, atol=1e-4)
        best = np.argsort(-expected[0])[:3]
        assert [text.split(":")[0] for text in ran.out.split("largest: ")[1].split("  ")] == [
            str(i) for i in best
        ]


def test_run_compiles_what_is_not_compiled(cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pconv.bench.machine.busy", lambda: "the machine is busy")
    ran = cli("run", model, "--threads", "1", "--repeat", "3")
    assert ran.code == 0, ran.err
    assert ran.err == "no --input: random numbers for x (seed 0)\nthe machine is busy\n"
    assert "3 runs, 1 thread: median " in ran.out


def test_run_takes_the_sizes_that_a_file_leaves_open(cli, model: Path, tmp_path: Path, x: np.ndarray) -> None:
    proto = onnx.load(model)
    for size in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.dim_param = "s"
    onnx.save(proto, path := tmp_path / "open.onnx")
    refused = cli("run", path)
    assert refused.code == 2 and "is not fixed. Give it: " in refused.err
    np.save(tmp_path / "x.npy", x)
    shape = "x=" + ",".join(map(str, x.shape))
    ran = cli("run", path, "--input", shape, "--input", tmp_path / "x.npy")
    assert ran.code == 0, ran.err
    assert ran.out == cli("run", model, "--input", tmp_path / "x.npy").out


def test_run_json(cli, compiled: Path) -> None:
    said = json.loads(cli("run", compiled, "--json", "--top", "2").out)
    (output,) = said["outputs"]
    assert (output["name"], output["shape"], len(output["top"][0])) == ("y", [1, 10], 2)
    assert said["runs"] == 1 and said["median_ms"] > 0


def test_run_reads_a_picture(cli, compiled: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image.fromarray(pixels).save(tmp_path / "x.png")
    ran = cli(
        "run", compiled, "--input", tmp_path / "x.png", "-o", tmp_path / "y.npy", "--mean", "0.5,0.4,0.3"
    )
    assert ran.code == 0, ran.err
    x = (pixels.astype(np.float32) / 255 - np.float32([0.5, 0.4, 0.3])).transpose(2, 0, 1)[None]
    expected = pconv.load(compiled)(np.ascontiguousarray(x))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=1e-5)


def test_run_with_words_for_numbers(cli, compiled: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 3, 8, 8), "a"))
    ran = cli("run", compiled, "--input", tmp_path / "x.npy")
    assert ran.code == 2 and "x.npy: it holds <U1, not numbers" in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "none.npy: cannot be read (No such file or directory)"),
        ("bad.npy", b"\x93NUMPY", "bad.npy: no .npy file, or cut off"),
        ("zip.npy", b"PK\x03\x04", "zip.npy: no .npy file, or cut off"),
        ("bad.NPY", b"\x93NUMPY", "bad.NPY: no .npy file, or cut off"),
        ("bad.png", b"no picture", "bad.png: neither a picture nor a .npy file"),
        ("cut.png", PNG[:8] + b"\x00\x00\x00\x04IHDRpart", "cut.png: cannot be read (Truncated IHDR chunk)"),
        ("odd.png", PNG + b"\x00\x00\x00\x00IDAT" + bytes(40), "odd.png: cannot be read (broken PNG file"),
    ],
)
def test_run_with_inputs_that_are_none(
    cli, compiled: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = cli("run", compiled, "--input", tmp_path / name)
    assert ran.code == 2 and message in ran.err and ran.err.count("\n") == 1


def test_run_with_two_files_for_one_input(cli, compiled: Path, tmp_path: Path) -> None:
    ran = cli("run", compiled, "--input", "a.npy", "--input", "x=b.npy")
    assert (ran.code, ran.err) == (2, "pconv: error: input x: a.npy and b.npy are given; allowed one file.\n")


def test_run_with_a_wrong_shape(cli, compiled: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 4, 4), np.float32))
    ran = cli("run", compiled, "--input", tmp_path / "x.npy")
    assert ran.code == 2
    assert ran.err.startswith("pconv: error: input 'x': shape (1, 3, 4, 4), allowed (N, 3, 8, 8)")


def test_run_says_how_often_each_class_is_found(cli, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", (1, 2, 2, 5))
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 2, 5), np.float32))
    ran = cli("run", path, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    (place,) = {int(value) for value in np.load(tmp_path / "y.npz")["place"].ravel()}
    assert f"place: 1 x 2 x 5 int64, all {place}\n" in ran.out
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(-2, 3, (1, 2, 2, 5)).astype(np.float32))
    ran = cli("run", path, "--input", tmp_path / "x.npy")
    assert re.search(
        r"^mask: 1 x 2 x 2 x 5 bool, 2 values, most often (True|False) \(\d+\.0%\), ", ran.out, re.M
    )
    said = json.loads(cli("run", path, "--input", tmp_path / "x.npy", "--json").out)["outputs"]
    mask = next(one for one in said if one["name"] == "mask")
    assert (mask["type"], mask["values"]) == ("bool", 2)
    assert sum(one["share"] for one in mask["most"]) == pytest.approx(1)


def test_outputs_of_any_name_are_written(tmp_path: Path) -> None:
    outputs = {name: np.full((1, 2), i, np.float32) for i, name in enumerate(("file", "allow_pickle", "a/b"))}
    arrays.write_outputs(tmp_path / "y.npz", outputs)
    with np.load(tmp_path / "y.npz", allow_pickle=False) as written:
        assert sorted(written) == sorted(outputs)
        assert all(np.array_equal(written[name], outputs[name]) for name in outputs)


def test_run_with_arrays_under_the_name_of_one(cli, compiled: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 3, 8, 8), np.float32))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    ran = cli("run", compiled, "--input", tmp_path / "x.npy")
    assert ran.code == 2 and "x.npy: an .npz under another name" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mean", "1,2"), "--mean: 2 numbers for 3 channels; allowed one, or one a channel."),
        (("--std", "1,0,1"), "--mean 0 --std 1,0,1: allowed are finite numbers, for --std above 0."),
        (("--mean", "nan"), "--mean nan --std 1: allowed are finite numbers"),
    ],
)
def test_run_with_a_scale_that_does_not_fit(
    cli, compiled: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.png")
    ran = cli("run", compiled, "--input", tmp_path / "x.png", *arguments)
    assert ran.code == 2 and message in ran.err and ran.err.count("\n") == 1


def test_run_with_an_output_of_another_kind(cli, compiled: Path, tmp_path: Path) -> None:
    ran = cli("run", compiled, "-o", tmp_path / "y.txt")
    assert ran.code == 2
    assert "--output" in ran.err and "the model has 1 output; allowed a name that ends in .npy." in ran.err


def test_run_with_a_file_that_is_no_model(cli, tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(b"nothing")
    ran = cli("run", tmp_path / "m.so")
    assert ran.code == 2 and ran.err.startswith(f"pconv: error: {tmp_path / 'm.so'}: ")


@pytest.mark.parametrize(
    ("stage", "text"), [("graph", "Conv"), ("plan", "conv2"), ("c", "void"), ("sparsity", "1.00x")]
)
def test_inspect_stages(cli, model: Path, stage: str, text: str) -> None:
    ran = cli("inspect", model, "--stage", stage)
    assert ran.code == 0, ran.err
    assert text in ran.out
    one = cli("inspect", model, "--stage", stage, "--layer", "conv2")
    assert one.code == 0, one.err
    assert "conv1" not in one.out.replace("conv1.", "")


def test_inspect_with_records_of_tuning(cli, model: Path, tmp_path: Path) -> None:
    path = Tuning("Pentium, x86").save(tmp_path / "t.json")
    for stage in ("plan", "report"):
        ran = cli("inspect", model, "--stage", stage, "--tuning", path)
        assert ran.code == 0, ran.err
        assert "not tuned: the records are for CPU Pentium, x86, here it is " in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stage", "sparsity", "--fold", "4"), "--fold is for --stage plan, c, report, not for sparsity;"),
        (("--stage", "sparsity", "--dense", "conv2"), "--dense is for --stage plan, c, report,"),
        (("--stage", "sparsity", "--input", "x=1,3,8,8"), "--input is for --stage graph, plan, c, report,"),
        (("--target", "opencl"), "--target is for --stage plan, c, report, not for graph; choose one, or"),
        (("--stage", "plan", "--threads", "2"), "--threads is for --stage report, not for plan; choose"),
    ],
)
def test_inspect_refuses_what_a_stage_does_not_look_at(
    cli, model: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = cli("inspect", model, *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.startswith(f"pconv: error: inspect: {message}") and ran.err.count("\n") == 1


def test_layers_that_stay_dense(cli, model: Path, tmp_path: Path) -> None:
    given = ("--compression", "9", "--exclude", "conv2")
    said = json.loads(cli("inspect", model, "--stage", "sparsity", *given, "--json").out)["layers"]
    assert said["conv2"]["compression_rate"] == 1 < said["fc"]["compression_rate"]
    assert cli("compile", model, "-o", tmp_path / "m.so", *given).code == 0
    layers = {layer["name"]: layer for layer in pconv.load(tmp_path / "m.so").manifest["layers"]}
    assert layers["conv2"]["macs"] == layers["conv2"]["dense_macs"]
    refused = cli("compile", model, "-o", tmp_path / "m.so", "--exclude", "conv2")
    assert refused.code == 2 and "pruning options without a rate; add --compression" in refused.err


def test_inspect_json(cli, model: Path) -> None:
    assert "Conv" in json.loads(cli("inspect", model, "--stage", "graph", "--json").out)["text"]
    pruned = json.loads(cli("inspect", model, "--stage", "sparsity", "--compression", "9", "--json").out)
    assert pruned["layers"]["conv2"]["compression_rate"] == pytest.approx(9)


def test_inspect_report_of_a_compiled_model(cli, compiled: Path) -> None:
    ran = cli("inspect", compiled, "--stage", "report", "--layer", "conv2", "--threads", "1")
    assert ran.code == 0, ran.err
    assert "conv2" in ran.out and "conv1" not in ran.out
    said = json.loads(cli("inspect", compiled, "--stage", "report", "--json").out)
    assert {"conv1", "conv2"} <= {layer["name"] for layer in said["layers"]}


def test_inspect_report_says_why_it_is_not_faster(cli, model: Path) -> None:
    arguments = (
        "inspect",
        model,
        "--stage",
        "report",
        "--compression",
        "9",
        "--threads",
        "1",
        "--peak",
        "200",
    )
    said = json.loads(cli(*arguments, "--json").out)
    assert said["peak_gflops"] == 200
    conv2 = next(layer for layer in said["layers"] if layer["name"] == "conv2")
    assert conv2["limit"].startswith(f"bound by {conv2['bound']}")
    assert conv2["peak_percent"] == pytest.approx(conv2["gflops"] / 2)
    assert conv2["runner_up"] and conv2["weights_bytes"] and conv2["activation_bytes"] == 4 * 24 * 64
    text = cli(*arguments).out
    assert "FMA peak 200.0 GFLOP/s" in text and "why not faster: bound by" in text and "runner-up: " in text


def test_a_remembered_peak_that_is_too_low_is_measured_again(
    cli, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "pconv.bench.known_peak.known_peak_gflops",
        lambda threads, again=False: asked.append(again) or (1e6 if again else 1e-6),
    )
    said = json.loads(cli("inspect", compiled, "--stage", "report", "--json").out)
    assert (asked, said["peak_gflops"]) == ([False, True], 1e6)


@pytest.mark.parametrize("stage", ["report", "sparsity"])
def test_inspect_of_a_layer_that_is_none(cli, model: Path, stage: str) -> None:
    ran = cli("inspect", model, "--stage", stage, "--layer", "conv3")
    assert ran.code == 2
    assert "--layer conv3: the model has no such layer; did you mean conv" in ran.err


def test_a_compiled_model_takes_no_pruning_options(cli, compiled: Path) -> None:
    ran = cli("inspect", compiled, "--stage", "report", "--compression", "8")
    assert ran.code == 2
    assert "it is compiled already; leave out the options that prune and compile." in ran.err
