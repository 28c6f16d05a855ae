"""Programs become libraries and executables; what goes wrong is said in one line."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pconv import toolchain
from pconv.build import RUNTIME_SOURCES, build, build_executable, call_compiler, compiled, program_key
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.errors import BuildError
from pconv.runtime import Engine

pytestmark = pytest.mark.cc
Maker = Callable[..., Program]

MAIN_C = """
#include "pconv.h"
#include <math.h>
#include <stdio.h>

static float x[3 * 64 * 32], y[3 * 64 * 32], sums[3 * 64];

int main(void) {
    char error[100];
    pconv_tensor info;
    if (pconv_abi() != PCONV_ABI || pconv_input_count() != 1 || pconv_output_count() != 2) return 1;
    if (pconv_info(0, 0, &info) || info.rank != 3 || info.dims[1] != 64 || !pconv_info(1, 2, &info)) return 2;
    if (pconv_open(65, error, sizeof error)) return 3;
    puts(error);
    pconv_model *model = pconv_open(3, error, sizeof error);
    if (!model) return 4;
    for (int i = 0; i < 3 * 64 * 32; i++) x[i] = sinf(i);
    const float *inputs[] = {x};
    float *outputs[] = {y, sums};
    for (int threads = 4; threads; threads--) {
        if (pconv_set_threads(model, threads) != threads) return 5;
        for (int profiled = 0; profiled < 2; profiled++) {
            if (pconv_profile(model, profiled)) return 5;
            for (int i = 0; i < 3 * 64 * 32; i++) y[i] = -1;
            if (pconv_run(model, inputs, outputs, 3) || !pconv_run(model, inputs, outputs, 0)) return 6;
            for (int i = 0; i < 3 * 64 * 32; i++) if (y[i] != 2 * x[i] + i % (64 * 32)) return 7;
        }
        int64_t ns[3] = {-1, -1, -1};
        if (pconv_times(model, ns, 2) != 3 || ns[0] < 0 || ns[1] < 0 || ns[2] != -1) return 8;
    }
    if (pconv_set_threads(model, 0) != -1) return 9;
    if (pconv_set_affinity(model, NULL, 0) || !pconv_set_affinity(model, NULL, 1)) return 10;
    pconv_close(model);
    pconv_close(NULL);
    puts(pconv_manifest());
    return 0;
}
"""


def check_main(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    error, manifest = done.stdout.splitlines()
    assert error == "threads must be 1 to 64"
    assert json.loads(manifest)["model"] == {"name": "affine"}


def test_same_program_is_compiled_once(make_program: Maker, session_cache: Cache) -> None:
    seen: list[tuple[str, int, int]] = []
    program = make_program(model={"name": "once"})
    first = build(program, cache=session_cache, progress=lambda *step: seen.append(step))
    assert [step[0] for step in seen] == ["compile"] * (len(seen) - 1) + ["link"]
    assert [step[1] for step in seen] == list(range(1, len(seen) + 1))
    count = len(seen)
    assert build(program, cache=session_cache, progress=lambda *step: seen.append(step)) == first
    assert len(seen) == count
    assert not list(session_cache.root.glob("build-*"))


def test_key_tells_everything_apart(make_program: Maker) -> None:
    program = make_program("x86-64-v3")
    compiler = toolchain.Toolchain(("cc",), "1", zig=False)
    variants = [
        (program, compiler),
        (program, replace(compiler, version="2")),
        (program, replace(compiler, command=("cc", "-g"))),
        (replace(program, weights=b"other"), compiler),
        (replace(program, sources={**program.sources, "more.h": ""}), compiler),
        (make_program("x86-64-v3", model={"name": "other"}), compiler),
        (make_program("x86-64-v4"), compiler),
    ]
    assert len({program_key(*variant) for variant in variants}) == len(variants)
    assert program_key(program, compiler) == program_key(make_program("x86-64-v3"), compiler)


def test_out_gets_a_copy(make_program: Maker, session_cache: Cache, tmp_path: Path) -> None:
    out = build(make_program(), cache=session_cache, out=tmp_path / "model.so")
    assert out == tmp_path / "model.so"
    below = build(make_program(), cache=session_cache, out=tmp_path / "new" / "m.so")
    assert below.read_bytes() == out.read_bytes()
    with pytest.raises(BuildError, match=r"model.so/m.so: cannot be written \(Not a directory\)\."):
        build(make_program(), cache=session_cache, out=out / "m.so")


def test_renames_of_one_size_are_told_apart(
    make_program: Maker, session_cache: Cache, tmp_path: Path
) -> None:
    with compiled(make_program(), cache=session_cache) as objects:
        first, second = ({"pconv_open": name} for name in ("first_open", "other_open"))
        assert objects._flags(False, first) != objects._flags(False, second)
        made = objects.static(tmp_path / "a.a", second).read_bytes()
    assert b"other_open" in made and b"first_open" not in made


@pytest.mark.parametrize("size", [0, 1, 100_001])
def test_weights_of_any_size(make_program: Maker, session_cache: Cache, size: int) -> None:
    text = """
#include "model.h"
static void run(const pconv_frame *f, int32_t begin, int32_t end) {
    f->outputs[0][0] = (uintptr_t)f->weights % 64 + (uintptr_t)f->arena % 64;
    for (int i = 0; i < (int)f->inputs[0][0]; i++) f->outputs[0][0] += f->weights[i];
    for (int i = -1024; i < 1024; i++) f->outputs[0][0] += f->arena[i];
}
static const pconv_step steps[] = {{"run", run, 1, 1}};
static const pconv_plan plan = {PCONV_NEEDS(""), MANIFEST, steps, 1, 1, 1, 0, 0};
const pconv_plan *const pconv_plans[] = {&plan, 0};
const pconv_tensor pconv_inputs[] = {{"n", 1, {1}}}, pconv_outputs[] = {{"sum", 1, {1}}};
const int32_t pconv_inputs_count = 1, pconv_outputs_count = 1;
"""
    said = {
        "inputs": [{"name": "n", "shape": [1], "dtype": "float32"}],
        "outputs": [{"name": "sum", "shape": [1], "dtype": "float32"}],
    }
    weights = np.random.default_rng(0).integers(0, 16, size).astype(np.uint8)
    program = replace(make_program(text=text, **said), weights=weights.tobytes())
    with Engine(build(program, cache=session_cache), threads=1) as engine:
        assert engine(np.array([size], np.float32)) == weights.sum()


def test_only_the_interface_is_visible(make_program: Maker, session_cache: Cache) -> None:
    if not shutil.which("nm"):
        pytest.fail("this test needs nm (Debian: binutils)")
    path = build(make_program(), cache=session_cache)
    listed = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True)
    visible = {line.split()[-1] for line in listed.stdout.splitlines()}
    functions = (
        "abi close info input_count manifest open output_count profile run set_affinity set_threads times"
    )
    assert visible == {f"pconv_{name}" for name in functions.split()}


def test_host_compiler(make_program: Maker, session_cache: Cache) -> None:
    host = next((name for name in toolchain.HOST_COMPILERS if shutil.which(name)), None)
    assert host, "this test needs a compiler beside zig's (Debian: gcc)"
    with Engine(build(make_program(), cc=f"{host} -pipe", cache=session_cache), threads=2) as engine:
        assert engine(np.zeros((1, 64, 32), np.float32))[0][0, 1, 0] == 32


@pytest.mark.parametrize("name", ["native", "aarch64"])
def test_generated_text_compiles_clean(make_program: Maker, tmp_path: Path, name: str) -> None:
    program = make_program(name)
    compiler = toolchain.choose(None, program.target)
    flags = (*compiler.base_flags(program.target), *compiler.cpu_flags(program.target), "-Wextra", "-Werror")
    native = Path(toolchain.__file__).parent / "runtime" / "native"
    for source in RUNTIME_SOURCES:
        arguments = [*flags, "-c", str(native / source), "-o", str(tmp_path / "o")]
        done = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_compiler_fails(make_program: Maker, session_cache: Cache) -> None:
    program = make_program(text='#include "model.h"\nint x = no_such_thing;\n')
    with pytest.raises(BuildError) as caught:
        build(program, cache=session_cache)
    message = str(caught.value)
    assert message.startswith("model.c: ") and "\n" not in message
    assert "no_such_thing" in message and "failed (exit code 1)" in message
    kept = Path(message.partition("is kept in ")[2].partition(";")[0])
    assert "no_such_thing" in (kept / "model.c").read_text()
    assert not list(session_cache.root.glob("build-*"))


def test_two_files_fail(tmp_path: Path) -> None:
    """They are compiled side by side, and each keeps the C text."""
    cache, work = Cache(tmp_path / "cache"), tmp_path / "work"
    work.mkdir()
    for name in ("one.c", "two.c"):
        with pytest.raises(BuildError, match=rf"{name}: false failed \(exit code 1\)"):
            call_compiler(("false",), [], work / "made.o", work, cache, name)


def test_linker_fails(make_program: Maker, session_cache: Cache) -> None:
    program = make_program()
    program = replace(program, sources={"model.c": program.sources["model.c"].replace("pconv_plans", "n")})
    with pytest.raises(BuildError, match=r"model\.so: .* failed .*pconv_plans"):
        build(program, cache=session_cache)


def test_disk_full_while_compiling(make_program: Maker, tmp_path: Path) -> None:
    cc = tmp_path / "cc"
    cc.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\necho "x.o: No space left on device" >&2\nexit 1\n'
    )
    cc.chmod(0o755)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(BuildError, match=r"cache: no space left on device\. .* PCONV_CACHE\."):
        build(make_program(), cc=str(cc), cache=cache)
    assert list(cache.root.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "free", "said"),
    [
        ("cache", 1 << 20, r"cache: no space left on device\."),
        ("a:b", 1 << 40, r"a:b: the compiler fails where its files lie, and many take no ':' in a path"),
        ("cache", 1 << 40, r"failed \(exit code 1\): it said nothing"),
    ],
)
def test_a_compiler_that_fails_without_a_word(
    make_program: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, free: int, said: str
) -> None:
    cc = tmp_path / "cc"
    cc.write_text('#!/bin/sh\n[ "$1" = --version ] && exit\nexit 1\n')
    cc.chmod(0o755)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(BuildError, match=said):
        build(make_program(), cc=str(cc), cache=Cache(tmp_path / folder))


@pytest.mark.parametrize("end", ["kill -INT $$", "exit 130"])
def test_an_interrupted_compiler_has_not_failed(make_program: Maker, tmp_path: Path, end: str) -> None:
    cc = tmp_path / "cc"
    cc.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit\n{end}\n')
    cc.chmod(0o755)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        build(make_program(), cc=str(cc), cache=cache)
    assert list(cache.root.iterdir()) == []


def test_compiler_that_makes_nothing(make_program: Maker, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"true failed \(exit code 0\): it said nothing\."):
        build(make_program(), cc="true", cache=Cache(tmp_path / "cache"))


def test_compiler_needs_no_home(make_program: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert toolchain.choose(None, make_program().target).version


@pytest.mark.parametrize("by_name", [True, False])
def test_named_compiler_is_missing(
    make_program: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_name: bool
) -> None:
    monkeypatch.setenv("PCONV_CC", "no-such-cc -x")
    with pytest.raises(BuildError) as caught:
        build(make_program(), cc="no-such-cc -x" if by_name else None, cache=Cache(tmp_path))
    assert str(caught.value) == (
        "C compiler 'no-such-cc -x': it does not run (No such file or directory); allowed a command that "
        "understands gcc's options. Set PCONV_CC, or `pip install ziglang` and leave it unset."
    )


def test_an_archiver_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"^no-such-ar: it does not run \(No such file or directory\)\. Install it"
    ):
        call_compiler(("no-such-ar",), [], tmp_path / "model.a", tmp_path, Cache(tmp_path))


def test_named_compiler_with_an_open_quote(make_program: Maker, tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"compiler zig 'cc: No closing quotation; allowed a command as a shell"
    ):
        build(make_program(), cc="zig 'cc", cache=Cache(tmp_path))


@pytest.mark.parametrize(
    ("command", "zig", "archiver"),
    [
        (("zig", "cc"), True, ("zig", "ar")),
        (("python", "-m", "ziglang", "cc", "-O1"), True, ("python", "-m", "ziglang", "ar")),
        (("gcc", "-m64"), False, ("ar",)),
    ],
)
def test_archiver(command: tuple[str, ...], zig: bool, archiver: tuple[str, ...]) -> None:
    assert toolchain.Toolchain(command, "1", zig).archiver == archiver


def test_no_compiler(make_program: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PCONV_CC", raising=False)
    monkeypatch.setitem(sys.modules, "ziglang", None)
    monkeypatch.setattr(toolchain, "_wheel_zig", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BuildError, match=r"no C compiler was found; allowed zig's \(pip install ziglang\), clang"
    ):
        build(make_program(), cache=Cache(tmp_path))


def test_host_compiler_is_not_asked_to_cross_compile(
    make_program: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gcc").write_text("#!/bin/sh\n")
    (tmp_path / "gcc").chmod(0o755)
    monkeypatch.delenv("PCONV_CC", raising=False)
    monkeypatch.setattr(toolchain, "_wheel_zig", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(
        BuildError, match="target aarch64 on linux: this machine's gcc compiles for linux on riscv64"
    ):
        build(make_program("aarch64"), cache=Cache(tmp_path))


def test_zig_is_known_by_any_name(make_program: Maker) -> None:
    found = toolchain.choose(f"{sys.executable} -m ziglang cc", make_program().target)
    assert found.zig and found.base_flags(make_program().target)[0] == "-target"


def test_c_program(make_program: Maker, session_cache: Cache, tmp_path: Path) -> None:
    check_main([build_executable(make_program(), MAIN_C, tmp_path / "main", cache=session_cache)])


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_nothing_races_or_strays(
    make_program: Maker, session_cache: Cache, tmp_path: Path, sanitizer: str
) -> None:
    assert shutil.which("gcc"), "this test needs gcc's sanitizers (Debian: gcc)"
    cc = f"gcc -fsanitize={sanitizer} -fno-sanitize-recover=all -g"
    check_main([build_executable(make_program(), MAIN_C, tmp_path / "main", cc=cc, cache=session_cache)])


@pytest.mark.qemu
def test_aarch64_under_qemu(make_program: Maker, session_cache: Cache, tmp_path: Path) -> None:
    made = build_executable(make_program("aarch64"), MAIN_C, tmp_path / "main", cache=session_cache)
    check_main(["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", made])
