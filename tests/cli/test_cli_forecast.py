"""`pconv forecast` and `pconv recipe` on a small model."""

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.models import make, node, rand
from graph.test_dilated import dilated
from pconv.bench import peers, timing
from pconv.recipe import Recipe

pytestmark = pytest.mark.cc

QUICK = ("--seconds", "0")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "TURN_S", 0.0)
    monkeypatch.setattr(timing, "lock_path", lambda: tmp_path / "lock")
    monkeypatch.setattr("pconv.bench.machine.busy", lambda: None)
    monkeypatch.setattr("pconv.cli.recipe.CHECK_S", 0.0)


@pytest.fixture
def table(cli, model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "t.json"
    ran = cli("forecast", model, *QUICK, "--compression", "4.5,9", "--group", "1,4", "--json", path)
    assert ran.code == 0, ran.err
    return path


def test_forecast_measures_every_variant(cli, model: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("f.html", "f.png", "t.json")]
    ran = cli(
        "forecast", model, *QUICK, "--compression", "9", "--group", "4,1", "-o", files[0], "--json", files[2]
    )
    assert ran.code == 0, ran.err
    assert sorted(tmp_path.glob("[ft].*")) == sorted(files)
    document = json.loads(files[2].read_text())
    assert [(v["compression"], v["group"]) for v in document["variants"]] == [(1.0, 1), (9.0, 1), (9.0, 4)]
    for variant in document["variants"]:
        assert variant["max_rel_err"] <= 1e-4 and len(variant["samples_ms"]) >= 5
        assert [layer["name"] for layer in variant["layers"]] == ["conv1", "conv2", "fc"]
        parts = sum(layer["ms"] for layer in variant["layers"]) + variant["rest_ms"]
        assert parts == pytest.approx(variant["median_ms"])
    conv2 = document["variants"][1]["layers"][1]
    assert (conv2["rate"], conv2["macs"]) == (9.0, conv2["dense_macs"] // 9)
    assert "9x in groups of 4" in ran.out and "raining is " in ran.out
    assert "compared with ONNX Runtime" in files[0].read_text("utf-8")


def test_the_parts_of_a_layer_are_its_own(cli, tmp_path: Path) -> None:
    """Of a dilated layer in a small image, each tap is a layer of its own, with copies around it."""
    path = tmp_path / "m.onnx"
    onnx.save(dilated((20, 20), channels=16, after=[node("Relu", "y", "z")]), path)
    ran = cli("forecast", path, *QUICK, "--compression", "9", "--group", "1", "--json", "-")
    dense, pruned = json.loads(ran.out)["variants"]
    read = 20 * 20 + 4 * 8 * 20 + 4 * 8 * 8  # outputs of the nine taps
    for variant in (dense, pruned):
        (layer,) = variant["layers"]
        assert (layer["name"], layer["dense_macs"]) == ("c", 16 * 8 * read)


def test_a_branch_that_only_the_dense_network_merges_belongs_to_the_rest(cli, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    branches = [
        node("Conv", "x a.weight", "a", pads=[1, 1, 1, 1]),
        node("Conv", "x b.weight", "b"),
        node("Add", "a b", "y"),
    ]
    weights = {"a.weight": rand(8, 8, 3, 3), "b.weight": rand(8, 8, 1, 1)}
    onnx.save(make(branches, {"x": (1, 8, 9, 9)}, ["y"], weights), path)
    ran = cli("forecast", path, *QUICK, "--compression", "9", "--group", "1", "--json", "-")
    assert json.loads(ran.out)["left_out"] == ["b"]
    for variant in json.loads(ran.out)["variants"]:
        assert [layer["name"] for layer in variant["layers"]] == ["a"]
        parts = sum(layer["ms"] for layer in variant["layers"]) + variant["rest_ms"]
        assert parts == pytest.approx(variant["median_ms"])


def test_recipe_says_which_layers_have_no_time_of_their_own(cli, tmp_path: Path) -> None:
    branches = [
        node("Conv", "x a.weight", "a", pads=[1, 1, 1, 1]),
        node("Conv", "x b.weight", "b"),
        node("Add", "a b", "y"),
    ]
    weights = {"a.weight": rand(8, 8, 3, 3), "b.weight": rand(8, 8, 1, 1)}
    onnx.save(make(branches, {"x": (1, 8, 9, 9)}, ["y"], weights), tmp_path / "m.onnx")
    options = ("--macs", "40k", "--compression", "9", "--group", "1", *QUICK)
    ran = cli("recipe", tmp_path / "m.onnx", *options, "-o", tmp_path / "r.toml")
    assert ran.code == 0, ran.err
    assert (
        "left dense, as they have no time of their own (merged into other layers, or not used): b." in ran.err
    )


def test_multiply_adds_that_pruning_does_not_reach_count(cli, tmp_path: Path) -> None:
    """A layer may be called as an output is: what writes that is not the layer's."""
    convs = [
        node("Conv", "x y.weight", "a", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("ConvTranspose", "a t", "y", pads=[1, 1, 1, 1]),
    ]
    weights = {"y.weight": rand(8, 8, 3, 3), "t": rand(8, 8, 3, 3)}
    onnx.save(make(convs, {"x": (1, 8, 9, 9)}, ["y"], weights), tmp_path / "m.onnx")
    ran = cli("forecast", tmp_path / "m.onnx", *QUICK, "--compression", "9", "--group", "1", "--json", "-")
    for variant in json.loads(ran.out)["variants"]:
        assert variant["rest_macs"] == 81 * 8 * 8 * 9 and variant["rest_ms"] > 0
        assert [layer["dense_macs"] for layer in variant["layers"]] == [81 * 8 * 8 * 9]


@pytest.mark.parametrize("arguments", [["--exclude", "*"], ["--exclude", "conv*", "--rate-fc", "1"]])
def test_forecast_where_nothing_is_pruned(cli, model: Path, tmp_path: Path, arguments: list[str]) -> None:
    ran = cli("forecast", model, *QUICK, "--compression", "9", *arguments, "-o", tmp_path / "f.html")
    assert ran.code == 2 and "no layer is pruned at these rates, so there is nothing to forecast" in ran.err
    assert not (tmp_path / "f.html").exists()


def test_what_is_measured_is_not_lost(cli, model: Path, table: Path, tmp_path: Path) -> None:
    """A result may not be written over what it is made from, or over another result."""
    before = table.read_bytes()
    ran = cli("recipe", model, "--macs", "40k", "--table", table, "-o", table)
    assert ran.code == 2 and f"{table}: this is the table itself, which it would replace" in ran.err
    curves = tmp_path / "c.json"
    curves.write_text('{"layers": {"conv1": {"9": 0.1}}}')
    ran = cli("recipe", model, "--macs", "40k", "--table", table, "--sensitivity", curves, "-o", curves)
    assert ran.code == 2 and f"{curves}: this is the file of curves itself" in ran.err
    for name in ("f.html", "f.png"):
        options = ("-o", tmp_path / "f.html", "--json", tmp_path / name)
        ran = cli("forecast", model, *QUICK, "--compression", "9", *options)
        assert ran.code == 2 and f"--json {tmp_path / name}: -o writes there, too" in ran.err
    assert table.read_bytes() == before


def test_recipe_is_written_before_it_is_timed(
    cli, model: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pconv.forecast.measure.measure_one", fail)
    cli("recipe", model, "--macs", "40k", "--table", table, "-o", tmp_path / "r.toml")
    assert "multiply-adds of the kept weights" in (tmp_path / "r.toml").read_text()


@pytest.mark.parametrize(
    ("sensitivity", "message"),
    [("nofolder", "--sensitivity nofolder: allowed are"), ("c.json", "c.json: cannot read the curves")],
)
def test_recipe_reads_what_it_is_told_before_it_measures(
    cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sensitivity: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pconv.cli.recipe.measured", lambda *_: pytest.fail("it measured"))
    ran = cli("recipe", model, "--macs", "40k", "--sensitivity", sensitivity, "-o", "r.toml")
    assert ran.code == 2 and message in ran.err


def test_a_budget_out_of_reach_says_how_to_keep_the_table(cli, model: Path, tmp_path: Path) -> None:
    options = ("--compression", "9", "--group", "1", *QUICK)
    ran = cli("recipe", model, "--latency", "1us", *options, "-o", tmp_path / "r.toml")
    assert ran.code == 2 and "is out of reach" in ran.err
    assert f"To measure once for several budgets: pconv forecast {model} --json FILE." in ran.err


def test_forecast_prints_nothing_but_json(cli, model: Path) -> None:
    ran = cli(
        "forecast", model, *QUICK, "--compression", "9", "--group", "1", "--rate-fc", "1", "--json", "-"
    )
    document = json.loads(ran.out)
    assert document["settings"] == {"rate_fc": 1.0}
    assert [layer["rate"] for layer in document["variants"][1]["layers"]] == [2.25, 9.0, 1.0]


def test_forecast_without_the_checker_says_so(cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.get("onnxruntime"), "available", lambda: "onnxruntime is not installed; pip")
    ran = cli("forecast", model, *QUICK, "--compression", "9", "--group", "1")
    assert ran.code == 0, ran.err
    assert "the answers are not checked: onnxruntime is not installed" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compression", "1"], "--compression 1: nothing is pruned;"),
        (["--compression", "x"], "--compression x: allowed are numbers, e.g. --compression 4 or 1,2.25,4."),
        (["--compression", "2"], "conv2 (3x3): compression_rate 2 is impossible"),
        (["--group", "a"], "--group a: allowed are whole numbers"),
        (["--group", "3"], "group: 3 is unknown;"),
        (["-o", "f.txt"], "-o f.txt: allowed is a name that ends in .html"),
        (
            ["-o", "/dev/null/f.html"],
            "/dev/null/f.html: cannot be written (Not a directory). Choose another place",
        ),
    ],
)
def test_forecast_errors(
    cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("forecast", model, *QUICK, *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.startswith(f"pconv: error: {message}") and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_recipe_for_multiply_adds(cli, model: Path, table: Path, tmp_path: Path) -> None:
    macs = {v["compression"]: sum(layer["macs"] for layer in v["layers"]) for v in _variants(table)}
    path = tmp_path / "r.toml"
    ran = cli("recipe", model, "--macs", macs[4.5], "--table", table, "--group", "1", "-o", path)
    assert ran.code == 0, ran.err
    recipe = Recipe.load(path)
    assert set(recipe.layers) == {"conv1", "conv2", "fc"} and recipe.group == 1
    assert f"wrote {path}" in ran.out and "expected" in ran.out and "measured" in ran.out
    pruned = cli("prune", model, "--recipe", path, "-o", tmp_path / "p.onnx", "--json")
    assert pruned.code == 0, pruned.err
    kept = {name: layer["kept_elems"] for name, layer in json.loads(pruned.out)["layers"].items()}
    assert 64 * (kept["conv1"] + kept["conv2"]) + kept["fc"] <= macs[4.5]


def test_recipe_for_a_latency(cli, model: Path, table: Path, tmp_path: Path) -> None:
    dense = _variants(table)[0]["median_ms"]
    path = tmp_path / "r.toml"
    ran = cli("recipe", model, "--latency", f"{2 * dense}ms", "--table", table, "-o", path, "--json")
    said = json.loads(ran.out)
    assert set(said["layers"].values()) == {"dense"}, "it is fast enough as it is"
    assert said["expected_ms"] <= 2 * dense and said["measured_ms"] > 0
    assert path.read_text().startswith("# tiny within ")


def test_recipe_says_that_it_waits_for_another_benchmark(
    cli, model: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def taken(on_wait: Callable[[], object] | None = None) -> Iterator[None]:
        if on_wait is not None:
            on_wait()
        yield

    monkeypatch.setattr(timing, "alone", taken)
    ran = cli("recipe", model, "--macs", "40k", "--table", table, "-o", tmp_path / "r.toml")
    assert ran.code == 0 and "another benchmark is running on this machine; waiting" in ran.err


def test_recipe_measures_its_own_table_and_reads_images(cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(2):
        array = np.random.default_rng(i).standard_normal((1, 3, 8, 8), dtype=np.float32)
        np.save(tmp_path / "images" / f"{i}.npy", array)
    ran = cli(
        "recipe", model, "--macs", "40k", "--compression", "9", "--group", "1", *QUICK,
        "--sensitivity", tmp_path / "images", "-o", tmp_path / "r.toml", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["macs"] <= 40_000 and 0 < said["harm"] < 3


def test_recipe_reads_curves(cli, model: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"layers": {"conv2": {"16": 1.0}}}))
    ran = cli(
        "recipe", model, "--macs", "40k", "--table", table, "--group", "1", "-o", tmp_path / "r.toml",
        "--sensitivity", tmp_path / "c.json", "--json",
    )  # fmt: skip
    assert json.loads(ran.out)["layers"] == {"conv1": "dense", "conv2": 4.5, "fc": "dense"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "recipe: one budget is needed; give --latency, e.g. 20ms, or --macs, e.g. 500M."),
        (["--latency", "1ms", "--macs", "1M"], "recipe: one budget is needed;"),
        (["--latency", "fast"], "--latency fast: allowed is a number above 0 with its unit, such as 20ms"),
        (["--macs", "0"], "--macs 0: allowed is a number above 0 with its unit, such as 500M"),
        (["--latency", "1us"], "a budget of 0.001 ms is out of reach; the least reachable is "),
        (["--latency", "1ms", "--group", "8"], "--group 8: the table has groups of 1, 4."),
        (
            ["--latency", "1ms", "--threads", "2"],
            "--threads 2: t.json was measured with 1; leave --threads out",
        ),
        (["--latency", "1ms", "--compression", "9"], "--table t.json: its rates and settings were measured;"),
        (["--latency", "1ms", "--seconds", "60"], "--table t.json: its rates and settings were measured;"),
        (
            ["--latency", "1ms", "--mean", "0.5"],
            "--mean and --std are of the images that --sensitivity DIR reads",
        ),
        (
            ["--latency", "1ms", "--sensitivity", "nan"],
            "nan/1.npy: it holds NaN or infinity; allowed are finite",
        ),
        (
            ["--latency", "1ms", "--sensitivity", "no"],
            "--sensitivity no: allowed are weights, a folder of images",
        ),
        (["--latency", "1ms", "--sensitivity", "empty"], "empty: no images; allowed are files in .npy"),
    ],
)
def test_recipe_errors(
    cli, model: Path, table: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(table.parent)
    Path("empty").mkdir()
    Path("nan").mkdir()
    shape = next(iter(json.loads(table.read_text())["inputs"].values()))
    np.save("nan/1.npy", np.full(shape, np.nan, np.float32))
    before = set(table.parent.iterdir())
    ran = cli("recipe", model, "--table", "t.json", "-o", "r.toml", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.startswith(f"pconv: error: {message}") and ran.err.count("\n") == 1
    assert set(table.parent.iterdir()) == before


def test_recipe_refuses_a_table_of_another_size(cli, model: Path, table: Path, tmp_path: Path) -> None:
    document = json.loads(table.read_text())
    ((name, shape),) = document["inputs"].items()
    document["inputs"] = {name: [*shape[:2], 99, 99]}
    table.write_text(json.dumps(document))
    ran = cli("recipe", model, "--table", table, "--latency", "1ms", "-o", tmp_path / "r.toml")
    here = "x".join(map(str, shape))
    assert ran.code == 2
    assert ran.err.startswith(
        f"pconv: error: the table was measured with {name} of {shape[0]}x{shape[1]}x99x99; here it is {here}."
    )
    del document["inputs"]  # as older versions wrote it
    table.write_text(json.dumps(document))
    ran = cli("recipe", model, "--table", table, "--macs", "40k", "-o", tmp_path / "r.toml")
    assert ran.code == 0, ran.err


def _variants(table: Path) -> list[dict]:
    return json.loads(table.read_text())["variants"]


def test_the_commands_of_the_docs(cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "forecast.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    shutil.copy(model, "model.onnx")
    for line in commands.splitlines():
        program, command, *arguments = shlex.split(line)
        fitting = ["40k" if argument == "500M" else argument for argument in arguments]  # it is a small model
        times = command in ("forecast", "recipe") and "--table" not in arguments
        ran = cli(command, *fitting, *(QUICK if times else ()))
        assert program == "pconv" and ran.code == 0, ran.err
    assert Path("forecast.png").is_file() and Path("pruned.onnx").is_file()
