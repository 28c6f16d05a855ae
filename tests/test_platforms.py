"""Models for Android bring what they need along; static libraries keep their names apart; pconv_bench measures."""

import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loading import read_loading
from pconv import targets, toolchain
from pconv.build import NATIVE, build, build_bench, compiled
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.errors import BuildError
from pconv.runtime import Engine

pytestmark = pytest.mark.cc
ROWS, COLUMNS = 64, 32  # of the hand-written program
WEIGHTS = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
Maker = Callable[..., Program]
QEMU = shutil.which("qemu-aarch64")
ON_X86 = platform.machine() == "x86_64"
HERE = "android-x86_64" if ON_X86 else "android-arm64"

# A program that loads a model as an app does, and checks its answers on 1 to 4 threads.
LOADER_C = """
#include "pconv.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define GET(name) __typeof__(name) *f_##name = (__typeof__(name) *)dlsym(library, #name)

int main(int argc, char **argv) {
    void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return puts(dlerror()), 1;
    GET(pconv_open); GET(pconv_run); GET(pconv_set_threads); GET(pconv_close);
    char error[100];
    pconv_model *model = f_pconv_open(2, error, sizeof error);
    if (!model) return puts(error), 2;
    static float x[64 * 32], y[64 * 32], sums[64];
    const float *inputs[] = {x};
    float *outputs[] = {y, sums};
    for (int i = 0; i < 64 * 32; i++) x[i] = i % 7;
    for (int run = 0; run < 40; run++) {
        if (f_pconv_set_threads(model, run % 4 + 1) != run % 4 + 1) return 3;
        if (f_pconv_run(model, inputs, outputs, 1)) return 4;
        for (int i = 0; i < 64 * 32; i++) if (y[i] != 2 * x[i] + i) return 5;
    }
    f_pconv_close(model);
    return dlclose(library) ? 6 : 0;
}
"""


def under_qemu(*command: object) -> subprocess.CompletedProcess[str]:
    if QEMU is None:
        pytest.fail("this test needs qemu-aarch64 (Debian: qemu-user)")
    return subprocess.run([QEMU, *map(str, command)], capture_output=True, text=True, timeout=100)


def test_android_runs_here_with_threads(make_program: Maker, session_cache: Cache) -> None:
    """Linux loads it too: it asks nobody for anything."""
    x = np.random.default_rng(0).standard_normal((3, ROWS, COLUMNS), np.float32)
    with Engine(build(make_program(HERE), cache=session_cache), threads=2) as engine:
        for run in range(60):
            engine.threads = run % 5 + 1
            assert engine.threads == run % 5 + 1
            y, sums = engine(x)
            np.testing.assert_array_equal(y, 2 * x + WEIGHTS)
            np.testing.assert_allclose(sums, y.sum(-1), rtol=1e-3, atol=0.1)
        assert len(engine.report(x[:1]).layers) == 3


@pytest.mark.parametrize("name", ["android-arm64", "android-x86_64"])
def test_android_needs_nothing(make_program: Maker, session_cache: Cache, name: str) -> None:
    loading = read_loading(build(make_program(name), cache=session_cache))
    assert (loading.needed, loading.undefined, loading.page_bytes) == ((), (), 16384)


@pytest.mark.qemu
def test_android_under_qemu(make_program: Maker, session_cache: Cache, tmp_path: Path) -> None:
    model = build(make_program("android-arm64"), cache=session_cache, out=tmp_path / "libmodel.so")
    linux = targets.get("linux-aarch64")
    compiler = toolchain.choose(None, linux)
    (tmp_path / "loader.c").write_text(LOADER_C)
    flags = [*compiler.base_flags(linux), f"-I{NATIVE}", *compiler.executable_flags(linux), "-ldl"]
    environment = toolchain.environment(session_cache.root / "zig", session_cache.root / "zig")
    command = [*compiler.command, "loader.c", "-o", "loader", *flags]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    done = under_qemu("-L", "/usr/aarch64-linux-gnu", "-cpu", "cortex-a53", tmp_path / "loader", model)
    assert (done.returncode, done.stdout) == (0, "")


def test_android_leaves_x18_alone(tmp_path: Path, session_cache: Cache) -> None:
    target = targets.get("android-arm64", "cortex-a76")
    compiler = toolchain.choose(None, target)
    values = ", ".join(f"p[{i}]" for i in range(26))
    wanted = ", ".join(f'"r"(a[{i}])' for i in range(26))
    (tmp_path / "f.c").write_text(
        f'void f(long *p) {{ long a[] = {{{values}}}; __asm__ volatile("" :: {wanted}); }}'
    )
    flags = [*compiler.base_flags(target), *compiler.cpu_flags(target), "-S", "f.c", "-o", "f.s"]
    environment = toolchain.environment(session_cache.root / "zig", session_cache.root / "zig")
    subprocess.run([*compiler.command, *flags], cwd=tmp_path, env=environment, check=True)
    text = (tmp_path / "f.s").read_text()
    assert "x17" in text and "x18" not in text


@pytest.mark.parametrize("name", ["macos-arm64", "macos-x86_64"])
def test_macos_links(make_program: Maker, session_cache: Cache, name: str) -> None:
    assert build(make_program(name), cache=session_cache).read_bytes()[:4] == b"\xcf\xfa\xed\xfe"


def test_ios_is_static(make_program: Maker, session_cache: Cache, tmp_path: Path) -> None:
    program = make_program("ios-arm64")
    with pytest.raises(
        BuildError, match="target ios-arm64: apps there link models statically; allowed `pconv"
    ):
        build(program, cache=session_cache)
    with compiled(program, cache=session_cache) as objects:
        made = objects.static(tmp_path / "libtiny.a", {"pconv_open": "tiny_open"})
    data = made.read_bytes()
    assert data.startswith(b"!<arch>\n") and b"_tiny_open" in data and b"_pconv_open" not in data


@pytest.mark.parametrize(("name", "batch"), [("linux-aarch64", 1), ("native", 1), ("native", 3)])
def test_bench_executable(
    make_program: Maker, session_cache: Cache, tmp_path: Path, name: str, batch: int
) -> None:
    bench = build_bench(make_program(name), tmp_path / "pconv_bench", cache=session_cache)
    x = np.random.default_rng(0).standard_normal((batch, ROWS, COLUMNS), np.float32)
    (tmp_path / "x").write_bytes(x.tobytes())
    command = [] if name == "native" else [QEMU or pytest.fail("needs qemu-aarch64"), "-cpu", "cortex-a53"]
    files = ["--input", tmp_path / "x", "--output", tmp_path / "y"]
    options = ["--threads", "2", "--warmup", "1", "--repeat", "4", "--cpus", "0", *files]
    options += ["--batch", str(batch)] if batch > 1 else []
    done = subprocess.run([*command, bench, *options], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert (said["threads"], said["batch"], said["cpus"], len(said["samples_ns"])) == (2, batch, "0", 4)
    assert [layer["name"] for layer in said["layers"]] == ["twice", "add_weights", "add_up"]
    assert all(layer["ns"] >= 0 for layer in said["layers"]) and min(said["samples_ns"]) > 0
    assert said["manifest"]["model"]["name"] == "affine"
    assert {"temperature_mc", "frequency_khz"} == set(said["before"]) == set(said["after"])
    y = np.fromfile(tmp_path / "y", np.float32)
    expected = 2 * x + WEIGHTS
    np.testing.assert_array_equal(y[: x.size].reshape(x.shape), expected)
    np.testing.assert_allclose(y[x.size :], expected.sum(-1).ravel(), rtol=1e-3, atol=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threads", "65"], "--threads: usage: pconv_bench [--threads N]"),
        (["--repeat", "x"], "--repeat: usage"),
        (["--batch", "0"], "--batch: usage"),
        (["--batch", "2", "--input", "/dev/null"], "/dev/null: not a file of the inputs' size"),
        (["--cpus", "1000"], "1000: the system does not let this run on these cores"),
        (["--cpus", "3-1"], "3-1: the system"),
        (["--cpus"], "--cpus: usage"),
        (["--nope", "1"], "--nope: usage"),
        (["--input", "/nope"], "/nope: not a file of the inputs' size"),
        (["--repeat", "1", "--output", "/nope/y"], "/nope/y: cannot be written"),
    ],
)
def test_bench_errors(make_program: Maker, session_cache: Cache, options: list[str], said: str) -> None:
    bench = session_cache.root / "pconv_bench"
    if not bench.exists():
        build_bench(make_program(), bench, cache=session_cache)
    done = subprocess.run([bench, *options], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"pconv_bench: error: {said}")
