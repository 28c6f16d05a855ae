"""`pconv prune`."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from pconv.cli import arrays, calibration
from pconv.graph import load
from pconv.graph.prune import read_sparsity


def zeros(path: Path, name: str) -> float:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    return float((tensors[name] == 0).mean())


def test_prunes_into_a_new_file(cli, model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", "--compression", "4.5", "--rate-fc", "1")
    assert ran.code == 0, ran.err
    assert model.read_bytes() == before
    assert zeros(tmp_path / "p.onnx", "conv2.weight") == pytest.approx(1 - 1 / 4.5)
    assert zeros(tmp_path / "p.onnx", "conv1.weight") == pytest.approx(5 / 9)
    assert zeros(tmp_path / "p.onnx", "fc.weight") == 0
    sparsity = read_sparsity(load(tmp_path / "p.onnx"))
    assert sparsity is not None and set(sparsity.layers) == {"conv1", "conv2", "fc"}
    for text in ("conv2", "4.50x", "wrote"):
        assert text in ran.out


def test_json_says_what_is_left(cli, model: Path, tmp_path: Path) -> None:
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", "--layer", "conv2=dense", "--json")
    assert ran.code == 0 and ran.err == ""
    said = json.loads(ran.out)
    assert said["output"] == str(tmp_path / "p.onnx")
    assert said["bytes"] == (tmp_path / "p.onnx").stat().st_size
    assert said["layers"]["conv2"]["compression_rate"] == 1.0


def test_convolutions_that_are_not_pruned_are_named(cli, tmp_path: Path) -> None:
    nodes = [
        *(helper.make_node("Conv", ["x", "one.weight"], ["a"]), helper.make_node("Relu", ["a"], ["b"])),
        *(
            helper.make_node("ConvTranspose", ["b", "up.weight"], ["c"], "up"),
            helper.make_node("Flatten", ["c"], ["d"]),
        ),
        helper.make_node("MatMul", ["d", "fc.weight"], ["y"]),
    ]
    shapes = {"one.weight": (4, 2, 3), "up.weight": (4, 3, 2), "fc.weight": (21, 8)}
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    infos = [
        helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", (1, 2, 8)), ("y", (1, 8)))
    ]
    graph = helper.make_graph(nodes, "rows", infos[:1], infos[1:], weights)
    model, out = tmp_path / "rows.onnx", tmp_path / "p.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), model)
    ran = cli("prune", model, "-o", out)
    assert ran.code == 0 and "not pruned: one (1-D), up (ConvTranspose); patterns and conn" in ran.out
    said = json.loads(cli("prune", model, "-o", out, "--json").out)
    assert said["not_pruned"] == {"one": "1-D", "up": "ConvTranspose"}


def test_recipe_file(cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('compression_rate = 9.0\nexclude = ["fc"]\n')
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", "--recipe", tmp_path / "r.toml")
    assert ran.code == 0, ran.err
    assert zeros(tmp_path / "p.onnx", "conv2.weight") == pytest.approx(1 - 1 / 9)
    assert zeros(tmp_path / "p.onnx", "fc.weight") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "r.toml", "--group", "2"], "--recipe r.toml: it holds all settings; leave the other"),
        (["--recipe", "none.toml"], "none.toml: cannot read the recipe (No such file or directory)"),
        (["--compression", "0.5"], "compression_rate: 0.5 is no compression rate"),
        (["--layer", "nope=2"], "layers.nope: the model has no such layer"),
        (["--exclude", "nope"], 'exclude: "nope" matches no layer'),
        (["--patterns", "scp9"], "patterns: 'scp9' is unknown; did you mean"),
    ],
)
def test_what_does_not_fit(cli, model: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.startswith(f"pconv: error: {message}") and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_unreadable_models(cli, model: Path, tmp_path: Path, content: bytes | None) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(model.read_bytes()[:200] if content is None else content)
    ran = cli("prune", bad, "-o", tmp_path / "p.onnx")
    assert ran.code == 2
    assert ran.err.startswith(f"pconv: error: {bad}: ") and ran.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


def test_a_compiled_model_is_not_pruned(cli, tmp_path: Path) -> None:
    (tmp_path / "net.so").write_bytes(b"\x7fELF")
    ran = cli("prune", tmp_path / "net.so", "-o", tmp_path / "p.onnx")
    assert ran.code == 2
    assert "net.so: this is a compiled model; this command needs the ONNX file it came from." in ran.err


def test_calibration_images_come_from_a_folder_or_an_array(cli, model: Path, tmp_path: Path) -> None:
    folder, bytewise = tmp_path / "images", tmp_path / "bytes"
    folder.mkdir(), bytewise.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), np.uint8)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{i:02}.png")
        np.save(bytewise / f"{i:02}.npy", picture[None])
    np.save(tmp_path / "images.npy", pixels)
    np.savez(tmp_path / "images.npz", images=pixels, labels=np.arange(40))
    scale = ("--mean", "0.5", "--std", "0.2,0.3,0.2")
    made = []
    for i, source in enumerate((folder, bytewise, tmp_path / "images.npy", tmp_path / "images.npz")):
        output = tmp_path / f"{i}.onnx"
        ran = cli(
            "prune",
            model,
            "-o",
            output,
            "--compression",
            "4.5",
            "--calibrate",
            source,
            *scale,
            "--images",
            32,
        )
        assert ran.code == 0, ran.err
        made.append(output.read_bytes())
    assert made[0] == made[1] == made[2] == made[3]
    assert zeros(tmp_path / "0.onnx", "conv2.weight") == pytest.approx(1 - 1 / 4.5)
    cli("prune", model, "-o", tmp_path / "by-magnitude.onnx", "--compression", "4.5")
    assert (tmp_path / "by-magnitude.onnx").read_bytes() != made[0]


def test_a_picture_too_large_to_open_is_named(
    cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", "--calibrate", tmp_path)
    assert ran.code == 2 and "large.png: cannot be read (Image size (81 pixels) exceeds limit" in ran.err


def test_fewer_images_are_spread_over_all(model: Path, tmp_path: Path) -> None:
    images = np.ones((9, 3, 8, 8), np.float32) * np.arange(9, dtype=np.float32)[:, None, None, None]
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, image in enumerate(images):
        np.save(folder / f"{i}.npy", image[None])
    np.save(tmp_path / "array.npy", images)
    for path in (folder, tmp_path / "array.npy"):
        taken = calibration.read(path, model, 3, None, arrays.AS_READ, lambda text: None)
        assert taken is not None and taken[:, 0, 0, 0].tolist() == [0, 4, 8]


@pytest.mark.parametrize(
    ("name", "array", "arguments", "message"),
    [
        ("none.npy", None, (), "none.npy: cannot be read (No such file or directory)"),
        ("x.npy", b"text", (), "x.npy: allowed are a folder of images, a .npy or a .npz"),
        ("x.npy", np.zeros((3, 8, 8)), (), "x.npy: it holds 0 arrays of [n, c, h, w]; allowed is one"),
        ("x.npy", np.zeros((9, 3, 8, 9)), (), "calibration images of shape [9, 3, 8, 9]"),
        ("x.npy", np.full((9, 3, 8, 8), "a"), (), "x.npy: it holds <U1, not numbers"),
        ("folder", None, (), "folder: no images; allowed are files in .npy"),
        ("folder", None, ("--size", "8"), "--size 8: allowed is H,W"),
        ("folder", None, ("--size", "8,0"), "--size 8,0: allowed is H,W"),
        ("x.npy", np.zeros((9, 3, 8, 8)), ("--size", "8,8"), "--size 8,8: it is for pictures in a folder"),
    ],
)
def test_calibration_images_that_are_refused(
    cli, model: Path, tmp_path: Path, name: str, array: object, arguments: tuple[str, ...], message: str
) -> None:
    path = tmp_path / name
    if isinstance(array, bytes):
        path.write_bytes(array)
    elif isinstance(array, np.ndarray):
        np.save(path, array)
    elif name == "folder":
        path.mkdir()
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", "--calibrate", path, *arguments)
    assert ran.code == 2 and message in ran.err, ran.err
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.parametrize("option", [("--mean", "0.5"), ("--std", "0.2"), ("--size", "8,8")])
def test_options_of_pictures_need_pictures(cli, model: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    ran = cli("prune", model, "-o", tmp_path / "p.onnx", *option)
    assert ran.code == 2 and "with --calibrate." in ran.err, ran.err
