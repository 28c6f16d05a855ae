"""`pconv verify`."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pconv.graph import load
from pconv.graph.prune import read_sparsity


@pytest.fixture
def pruned(cli, model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "pruned.onnx"
    assert cli("prune", model, "-o", path, "--compression", "4.5").code == 0
    return path


def change(path: Path, edit) -> Path:
    """Write a copy whose conv2 weights were edited, with the map as it was."""
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        if tensor.name == "conv2.weight":
            weights = numpy_helper.to_array(tensor).copy()
            edit(weights)
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    changed = path.with_name("changed.onnx")
    onnx.save(proto, changed)
    return changed


def fill(weights: np.ndarray) -> None:
    weights[3, :2] = 0.5


def drop(weights: np.ndarray) -> None:
    weights[weights == weights.max()] = 0


def without_map(path: Path) -> Path:
    proto = onnx.load(path)
    del proto.metadata_props[:]
    bare = path.with_name(f"bare-{path.name}")
    onnx.save(proto, bare)
    return bare


def test_a_pruned_file_is_as_it_should_be(cli, pruned: Path) -> None:
    ran = cli("verify", pruned, "--patterns", "scp8")
    assert ran.code == 0, ran.out + ran.err
    assert "3 pruned layers; nothing filled in, by its own map;" in ran.out and "filters balanced" in ran.out
    assert cli("verify", pruned).code == 0


def test_weights_that_became_zero_by_training_are_no_problem(cli, pruned: Path) -> None:
    assert cli("verify", change(pruned, drop)).code == 0


def test_filled_in_weights_are_listed(cli, pruned: Path) -> None:
    changed = change(pruned, fill)
    ran = cli("verify", changed)
    assert ran.code == 1
    assert "conv2: " in ran.out and "pruned weights are no longer zero, the first at [3, " in ran.out
    said = json.loads(cli("verify", changed, "--json").out)
    assert said["against"] == "its own map" and len(said["problems"]) == 1


@pytest.mark.parametrize("kind", ["onnx", "json"])
def test_against_another_file(cli, pruned: Path, kind: str) -> None:
    bare = without_map(change(pruned, fill))
    before = pruned
    if kind == "json":
        sparsity = read_sparsity(load(pruned))
        assert sparsity is not None
        before = pruned.with_name("map.json")
        before.write_text(sparsity.to_json())
    assert cli("verify", without_map(pruned), "--against", before).code == 0
    ran = cli("verify", bare, "--against", before)
    assert ran.code == 1 and "no longer zero" in ran.out


def test_shapes_outside_the_library_and_of_unequal_size(cli, pruned: Path) -> None:
    ran = cli("verify", pruned, "--patterns", "elog4")
    assert ran.code == 1 and "kernels have shapes outside the library" in ran.out
    ran = cli("verify", pruned, "--patterns", "natural-4")
    assert ran.code == 1 and "shapes; natural-4 allows 4" in ran.out

    ran = cli("verify", without_map(change(pruned, uneven)))
    assert ran.code == 1 and "conv2: 16 kernels keep fewer than 4 weights, in 1 other shapes" in ran.out


def test_a_weight_that_is_zero_by_chance_makes_no_shape(cli, pruned: Path) -> None:
    ran = cli("verify", without_map(change(pruned, one_zero_more)), "--patterns", "natural-8")
    assert ran.code == 0 and "8 legal shapes" in ran.out


def one_zero_more(weights: np.ndarray) -> None:
    """Let one kept weight be zero, as rounding may."""
    weights[tuple(np.argwhere(weights)[0])] = 0


def uneven(weights: np.ndarray) -> None:
    """Kernel 0 of each filter keeps two weights in a row, kernel 1 a block of four elsewhere."""
    weights[:] = 0
    weights[:, 0, 2, 1:] = 1
    weights[:, 1, :2, :2] = 1


def test_unbalanced_filters(cli, pruned: Path) -> None:
    def thin(weights: np.ndarray) -> None:
        weights[0] = 0

    bare = without_map(change(pruned, thin))
    ran = cli("verify", bare)
    assert ran.code == 1 and "conv2: filters keep 0 to 4 kernels; balance needs the same number" in ran.out
    ran = cli("verify", bare, "--no-balance")
    assert ran.code == 0 and "no map to compare with (--against FILE)" in ran.out


def test_what_cannot_be_read(cli, pruned: Path, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for arguments, message in [
        ((tmp_path / "none.onnx",), "none.onnx: no such file"),
        ((pruned, "--against", tmp_path / "none.json"), "none.json: cannot be read (No such file"),
        ((pruned, "--against", tmp_path / "map.json"), "map.json: sparsity map: cannot be read"),
        ((pruned, "--against", tmp_path / "deep.json"), "deep.json: sparsity map: cannot be read (maximum"),
        ((pruned, "--patterns", "scp9"), "--patterns scp9: no such library; allowed elog4, "),
    ]:
        ran = cli("verify", *arguments)
        assert ran.code == 2 and message in ran.err and ran.err.count("\n") == 1


def test_compiled(cli, model: Path, tmp_path: Path) -> None:
    made = tmp_path / "m.so"
    assert cli("compile", model, "-o", made).code == 0
    ran = cli("verify", made)
    assert ran.code == 0 and "m.so: its bytes are those that were compiled" in ran.out
    whole = made.read_bytes()
    made.write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])
    ran = cli("verify", made, "--json")
    assert ran.code == 1
    assert "its bytes changed after it was compiled. Copy or compile" in json.loads(ran.out)["problems"][0]
    made.write_bytes(whole[:-100])
    ran = cli("verify", made)
    assert ran.code == 2 and "m.so: it does not say what its bytes should be; allowed a .pcl file," in ran.err
    ran = cli("verify", tmp_path / "absent.so")
    assert ran.code == 2 and "absent.so: cannot be read (No such file or directory)" in ran.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--against", "pruned.onnx"), "--against"),
        (("--patterns", "scp8", "--no-balance"), "--patterns, --no-balance"),
    ],
)
def test_options_for_weights_are_refused_of_a_compiled_model(
    cli, compiled: Path, arguments: tuple[str, ...], named: str
) -> None:
    ran = cli("verify", compiled, *arguments)
    assert ran.code == 2 and ran.out == ""
    assert f"checked by its bytes only; leave out {named}, or name the ONNX file it came from." in ran.err


def changed(path: Path, at: int) -> Path:
    """Write a copy of a file, one bit of it changed."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    other = path.with_name(f"changed{path.suffix}")
    other.write_bytes(data)
    return other


@pytest.mark.parametrize(
    ("target", "name", "at"),
    [("opencl", "m.pcl", 200), ("macos-arm64", "m.dylib", 9000), ("android-arm64", "m.so", 9000)],
)
def test_compiled_for_others(cli, model: Path, tmp_path: Path, target: str, name: str, at: int) -> None:
    made = tmp_path / name
    assert cli("compile", model, "-o", made, "--target", target).code == 0
    ran = cli("verify", made)
    assert ran.code == 0 and f"{name}: its bytes are those that were compiled" in ran.out
    ran = cli("verify", changed(made, at))
    assert ran.code == 1 and "its bytes changed after it was compiled. Copy or compile" in ran.out


def test_a_file_that_nothing_signed(cli, model: Path, tmp_path: Path) -> None:
    made = tmp_path / "m.dylib"
    assert cli("compile", model, "-o", made, "--target", "macos-x86_64").code == 0
    ran = cli("verify", made)
    assert ran.code == 2
    assert "allowed a .pcl file, or a library for Linux, Android or macOS on arm64, neither" in ran.err


def test_against_a_dense_model(cli, pruned: Path, model: Path) -> None:
    ran = cli("verify", pruned, "--against", model)
    assert ran.code == 2 and f"--against {model}: nothing is pruned there; allowed a model" in ran.err
