"""What is wrong is said in one line, with exit code 2, and leaves nothing behind."""

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from .conftest import TINY_SHAPE, Cli, Tiny, draw

pytestmark = [pytest.mark.cc, pytest.mark.slow]


def listing(*folders: Path) -> list[tuple[Path, int]]:
    """List all files under some folders with their sizes; a compiler's own cache may grow."""
    found = (path for folder in folders for path in folder.rglob("*"))
    return sorted((path, path.stat().st_size) for path in found if "zig" not in path.parts and path.is_file())


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a command which must fail, and gives what it said."""

    def run(*arguments: str | Path, **environment: str) -> str:
        cache = tmp_path / "cache"
        before = listing(tmp_path)
        done = cli(*arguments, **{"PCONV_CACHE": str(cache), **environment})
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        said = line.removeprefix("pconv: error: ")
        assert said != line
        assert listing(tmp_path) == before
        return said

    return run


@pytest.mark.parametrize(
    ("command", "share"),
    [*(("compile", share) for share in (0.0, 0.02, 0.3, 0.7, 0.98)), ("prune", 0.02), ("prune", 0.7)],
)
def test_truncated_model(tiny_file: Path, tmp_path: Path, refused, command: str, share: float) -> None:
    whole = tiny_file.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    said = refused(command, path, "-o", tmp_path / "out")
    assert str(path) in said or "initialiser" in said


def test_garbage_model(tmp_path: Path, refused) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert f"{path}: not an ONNX model, or cut off" in refused("compile", path, "-o", tmp_path / "out.so")


def test_missing_model(tmp_path: Path, refused) -> None:
    assert "absent.onnx: no such file" in refused("compile", "absent.onnx", "-o", tmp_path / "out.so")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("command", ["compile", "prune"])
def test_weights_that_are_not_finite(tiny: Tiny, tmp_path: Path, refused, command: str, value: float) -> None:
    weight = tiny.weights["conv2.weight"].copy()
    weight[3, 2, 1, 0] = value
    path = tiny.with_weight("conv2.weight", weight).write(tmp_path / "net.onnx")
    said = refused(command, path, "-o", tmp_path / "out")
    assert "conv2.weight: 1 of 1152 values are NaN or infinite" in said


def test_unsupported_operator(tiny: Tiny, tmp_path: Path, refused) -> None:
    odd = helper.make_node("Det", ["c"], ["y"], "odd_one")
    path = Tiny((*tiny.nodes[:3], odd), tiny.weights).write(tmp_path / "net.onnx")
    said = refused("compile", path, "-o", tmp_path / "out.so")
    assert "odd_one (Det)" in said


def test_shape_that_does_not_fit(tiny_file: Path, tmp_path: Path, refused) -> None:
    said = refused("compile", tiny_file, "-o", tmp_path / "out.so", "--input", "x=1,4,12,12")
    assert "x" in said and "4" in said


def test_cache_that_cannot_be_written(tiny_file: Path, tmp_path: Path, refused) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refused("compile", tiny_file, "-o", tmp_path / "out.so", PCONV_CACHE=str(tmp_path / "file/cache"))
    assert "file/cache" in said and "PCONV_CACHE" in said


def test_missing_compiler(tiny_file: Path, tmp_path: Path, refused) -> None:
    said = refused("compile", tiny_file, "-o", tmp_path / "out.so", PCONV_CC="no-such-compiler")
    assert "C compiler 'no-such-compiler': it does not run" in said


def test_output_that_cannot_be_written(tiny_file: Path, tmp_path: Path, refused) -> None:
    said = refused("compile", tiny_file, "-o", tiny_file / "out.so")
    assert f"{tiny_file.name}/out.so: cannot be written (Not a directory)" in said


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (draw((1, 3, 11, 12)), "shape (1, 3, 11, 12), allowed (N, 3, 12, 12)"),
        (draw(TINY_SHAPE[1:]), "Add the batch dimension"),
        (draw(TINY_SHAPE).astype(np.float64), "dtype float64, allowed float32"),
        (np.zeros(TINY_SHAPE, np.uint8), "dtype uint8, allowed float32"),
        (None, "no .npy file, or cut off"),
    ],
)
def test_arrays_that_do_not_fit(
    tiny_library: Path, tmp_path: Path, refused, x: np.ndarray | None, what: str
) -> None:
    path = tmp_path / "x.npy"
    if x is None:
        path.write_bytes(b"\x93NUMPY garbage")
    else:
        np.save(path, x)
    assert what in refused("run", tiny_library, "--input", path, "-o", tmp_path / "y.npy")


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda whole: whole[: len(whole) // 2], "cut off or damaged"),
        (lambda whole: b"#!/bin/sh\n", "not a shared library"),
        (lambda whole: b"", "an empty file"),
        (lambda whole: whole.replace(b'"format": 2', b'"format": 7'), "manifest format 7, allowed 2"),
    ],
)
def test_artefacts_that_are_none(
    tiny_library: Path, tmp_path: Path, refused, broken: Callable[[bytes], bytes], what: str
) -> None:
    path = tmp_path / "net.so"
    path.write_bytes(broken(tiny_library.read_bytes()))
    said = refused("run", path)
    assert str(path) in said and what in said


def test_artefact_of_another_architecture(tiny_file: Path, tmp_path: Path, cli: Cli, refused) -> None:
    other = "x86-64-v3" if platform.machine() in ("aarch64", "arm64") else "aarch64"
    made = tmp_path / "other.so"
    done = cli("compile", tiny_file, "-o", made, "--target", other)
    assert done.returncode == 0, done.stderr
    said = refused("run", made)
    assert f"{made}: compiled for" in said and "this machine is" in said


def test_recipe_with_an_unknown_key(tiny_file: Path, tmp_path: Path, refused) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("compresion_rate = 4\n")
    said = refused("prune", tiny_file, "-o", tmp_path / "out.onnx", "--recipe", recipe)
    assert "compresion_rate: unknown key; did you mean compression_rate?" in said
