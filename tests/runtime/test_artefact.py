"""A file that is no model for this machine is refused in one line, before it can do harm."""

import ctypes
import json
import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pconv.build import build
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.errors import ArtefactError
from pconv.runtime import load
from pconv.runtime.header import check_library
from pconv.runtime.library import _loaded, open_library
from pconv.toolchain import choose

pytestmark = pytest.mark.cc


def refused(path: Path) -> str:
    with pytest.raises(ArtefactError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_missing_file(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refused(tmp_path / "none.so")


@pytest.mark.parametrize(("content", "what"), [(b"", "an empty file"), (b"hello", "not a shared library")])
def test_garbage(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "model.so"
    path.write_bytes(content)
    assert what in refused(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_truncated(affine: Path, tmp_path: Path, share: float) -> None:
    whole = affine.read_bytes()
    path = tmp_path / "model.so"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "the file is cut off or damaged" in refused(path) or share == 0.001


def test_other_architecture(affine: Path, tmp_path: Path) -> None:
    content = bytearray(affine.read_bytes())
    struct.pack_into("<H", content, 18, 243)
    path = tmp_path / "model.so"
    path.write_bytes(content)
    assert "compiled for riscv64, this machine is" in refused(path)


def test_what_the_loader_knows_by_a_files_number_keeps_it(affine: Path) -> None:
    """As where one thread loads a file again while another, which was its last user, has yet to unload it."""
    first = open_library(affine)
    del _loaded[next(key for key, library in _loaded.items() if library is first)]
    second = open_library(affine)
    assert second is not first
    named_by, also_open = first._file, second._file
    del first
    assert not named_by.closed
    del second
    assert named_by.closed and also_open.closed


def test_a_file_that_another_part_of_the_program_has_keeps_its_name(affine: Path, tmp_path: Path) -> None:
    """The loader knows it by our name as well, and would hand it out for whichever file gets that next."""
    path = Path(shutil.copy(affine, tmp_path / "model.so"))
    others = ctypes.CDLL(str(path))
    open_library(path)  # and unload it
    another = open_library(Path(shutil.copy(affine, tmp_path / "another.so")))
    assert another.c._handle != others._handle


def test_a_library_that_this_process_has_and_that_is_no_model(affine: Path) -> None:
    mapped = Path("/proc/self/maps").read_text().split()
    libraries = {word for word in mapped if Path(word).name.startswith("libm.")}
    assert libraries, "numpy needs it"
    for path in libraries:
        assert "pconv_abi is missing" in refused(Path(path))
        open_library(affine)


def test_a_file_that_is_written_over_while_it_is_loaded(affine: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(affine, tmp_path / "model.so"))
    library = open_library(path)
    os.utime(path)  # no change
    assert open_library(path) is library
    with path.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"0123456789")
    assert "it was written over while it is in use" in refused(path)


def test_cross_compiled(make_program: Callable[..., Program], session_cache: Cache, tmp_path: Path) -> None:
    program = make_program("aarch64")
    path = build(program, cache=session_cache, out=tmp_path / "model.so")
    if program.target.arch != make_program().target.arch:
        assert "compiled for aarch64, this machine is" in refused(path)


def test_object_file(affine: Path, tmp_path: Path) -> None:
    content = bytearray(affine.read_bytes())
    struct.pack_into("<H", content, 16, 1)
    path = tmp_path / "model.so"
    path.write_bytes(content)
    assert "not as a 64-bit shared library" in refused(path)


@pytest.mark.parametrize("place", [32, 40], ids=["segments", "sections"])
def test_a_header_that_names_a_place_no_file_has(affine: Path, tmp_path: Path, place: int) -> None:
    content = bytearray(affine.read_bytes())
    struct.pack_into("<Q", content, place, 2**64 - 1)
    path = tmp_path / "model.so"
    path.write_bytes(content)
    assert "the file is cut off or damaged" in refused(path)


def test_macos_library(
    make_program: Callable[..., Program],
    session_cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = make_program("aarch64")
    target = replace(program.target, os="macos", zig_target="aarch64-macos")
    path = build(replace(program, target=target), cache=session_cache, out=tmp_path / "model.dylib")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with path.open("rb") as file:
        check_library(file, str(path))
    path.write_bytes(path.read_bytes()[:-1000])
    assert "the file is cut off or damaged" in refused(path)
    path.write_bytes(path.read_bytes()[:40])
    assert "the file is cut off or damaged" in refused(path)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert "not a shared library of this system" in refused(path)


def compile_library(text: str, tmp_path: Path, program: Program) -> Path:
    """Compile a shared library that is not made by the build."""
    (tmp_path / "other.c").write_text(text)
    compiler = choose(None, program.target)
    flags = (*compiler.base_flags(program.target), *compiler.library_flags(program.target))
    made = tmp_path / "other.so"
    arguments = [
        *compiler.command,
        str(tmp_path / "other.c"),
        "-o",
        str(made),
        *flags,
        "-fvisibility=default",
    ]
    subprocess.run(arguments, check=True, capture_output=True, cwd=tmp_path)
    return made


def stub(abi: int, manifest: str) -> str:
    names = ("open", "run", "set_threads", "set_affinity", "profile", "times", "close")
    return (
        f"int pconv_abi(void) {{ return {abi}; }}\n"
        f"const char *pconv_manifest(void) {{ return {json.dumps(manifest)}; }}\n"
        + "\n".join(f"void *pconv_{name}(void) {{ return 0; }}" for name in names)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int answer(void) { return 42; }", "a shared library, but not a compiled model"),
        (stub(2, "{}"), "compiled for ABI 2, allowed 1. Compile it again with this pconv."),
        (stub(1, "{"), "its manifest cannot be read"),
        (stub(1, '{"format": 1}'), "its manifest cannot be read"),
        (
            stub(1, '{"format": 9, "inputs": [], "outputs": [], "layers": []}'),
            "manifest format 9, allowed 2.",
        ),
    ],
)
def test_foreign_libraries(
    make_program: Callable[..., Program], tmp_path: Path, text: str, message: str
) -> None:
    assert message in refused(compile_library(text, tmp_path, make_program()))


def test_missing_cpu_features(
    make_program: Callable[..., Program], session_cache: Cache, tmp_path: Path
) -> None:
    program = make_program()
    text = program.sources["model.c"].replace('NEEDS("")', 'NEEDS("fp,flux_capacitor")')
    message = refused(build(replace(program, sources={"model.c": text}), cache=session_cache))
    assert (
        "this CPU lacks instructions that the model was compiled for (it needs fp,flux_capacitor)" in message
    )
