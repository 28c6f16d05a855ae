"""The C host runs a .pcl file as Python does, and leaves for the CPU where there is no OpenCL."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pconv import targets, toolchain
from pconv.bench.case import Case, NetworkBuilder, Sparsity
from pconv.bench.registry import conv, gemm
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.runtime import load

pytestmark = [pytest.mark.opencl, pytest.mark.cc]

NATIVE = Path(toolchain.__file__).parent / "runtime" / "native"

# Reads the inputs of one sample, writes the outputs of two and the GPU's times; says on stderr where it ran.
MAIN_C = r"""
#include "auto.h"
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 1 << 24 };

int main(int count, char **arguments) {
    FILE *file = fopen(arguments[1], "rb");
    unsigned char *pcl = malloc(LIMIT);
    size_t bytes = file && pcl ? fread(pcl, 1, LIMIT, file) : 0;
    char note[600] = "";
    pconv_auto *model = pconv_auto_open(pcl, bytes, count > 2 ? arguments[2] : NULL, 1, note, sizeof note);
    fprintf(stderr, "%s\n", note);
    if (!model) return 2;
    static float in[3 * 14 * 14 * 2], out[10 * 2];
    if (fread(in, sizeof in, 1, stdin) != 1) return 3;
    const float *inputs[] = {in};
    float *outputs[] = {out};
    if (pconv_auto_run(model, inputs, outputs, 2)) return 4;
    fwrite(out, sizeof out, 1, stdout);
    int on_gpu = pconv_auto_on_gpu(model);
    pconv_auto_close(model);
    if (!on_gpu) return 0;
    pconv_gpu *gpu = pconv_gpu_open(pcl, bytes, NULL, note, sizeof note);
    if (!gpu) return 5;
    int64_t ns[32], sum = 0;
    if (pconv_gpu_elems(gpu, 0, 0) != 3 * 14 * 14 || pconv_gpu_elems(gpu, 1, 0) != 10) return 6;
    if (pconv_gpu_elems(gpu, 1, 1) != -1) return 6;
    if (pconv_gpu_profile(gpu, 1) || pconv_gpu_run(gpu, inputs, outputs, 1)) return 7;
    int steps = pconv_gpu_times(gpu, ns, 32);
    for (int i = 0; i < steps; i++) sum += ns[i];
    pconv_gpu_close(gpu);
    fprintf(stderr, "%d layers\n", steps);
    return sum > 0 ? 0 : 8;
}
"""

Run = Callable[..., subprocess.CompletedProcess[bytes]]


def network() -> GraphView:
    """Return a small classifier: sparse, dense, pooled, fully connected."""
    builder = NetworkBuilder()
    x = builder.input("x", (1, 3, 14, 14))
    x = builder.layer(conv("first", 3, 16, (14, 14), act="relu"), [x])
    x = builder.layer(conv("second", 16, 16, (14, 14), sparsity=Sparsity(2.0, "scp8"), act="relu"), [x])
    x = builder.layer(Case("mean", "GlobalAveragePool"), [x])
    x = builder.layer(Case("flat", "Flatten"), [x])
    builder.outputs.append(builder.layer(gemm("classes", 16, 10), [x]))
    return builder.graph("small")


@pytest.fixture(scope="module")
def run(session_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Build the program once; return a function that runs it on a .pcl file."""
    work = tmp_path_factory.mktemp("host")
    (work / "main.c").write_text(MAIN_C)
    library = build(generate(lower(network(), targets.native())), cache=session_cache, out=work / "cpu.so")
    compiler = toolchain.choose(None, targets.native())
    sources = [work / "main.c", NATIVE / "opencl.c", NATIVE / "auto.c", library]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}", "-ldl", f"-Wl,-rpath,{work}"]
    done = subprocess.run(
        [*compiler.command, *map(str, sources), *flags, "-o", str(work / "host")],
        env=toolchain.environment(session_cache.root / "zig", work / "zig"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    def run(
        pcl: Path, *arguments: Path, x: np.ndarray | None = None, **environment: str
    ) -> subprocess.CompletedProcess:
        feed = np.zeros((2, 3, 14, 14), np.float32) if x is None else x
        command = [str(work / "host"), str(pcl), *map(str, arguments)]
        return subprocess.run(
            command, input=feed.tobytes(), capture_output=True, env={**os.environ, **environment}, timeout=120
        )

    return run


@pytest.fixture(scope="module", params=["opencl", "opencl-fp16"])
def pcl(request: pytest.FixtureRequest, session_cache: Cache) -> Path:
    """Compile the network for OpenCL."""
    return build(generate(lower(network(), targets.get(request.param))), cache=session_cache)


def test_the_same_numbers_as_in_python(run: Run, pcl: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 14, 14), np.float32)
    with load(pcl) as engine:
        expected = engine(x)
        layers = len(engine.manifest["layers"])
    for _ in range(2):  # the second time from the binary that the first one left
        done = run(pcl, tmp_path, x=x)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr.decode().startswith("GPU: ")
        assert f"{layers} layers" in done.stderr.decode()
        got = np.frombuffer(done.stdout, np.float32).reshape(2, 10)
        np.testing.assert_allclose(
            got, expected, atol=1e-6 if "fp16" not in engine.manifest["target"]["name"] else 1e-3
        )
        assert len(list(tmp_path.glob("pconv-*.clbin"))) == 1


def test_a_damaged_binary_is_made_anew(run: Run, pcl: Path, tmp_path: Path) -> None:
    assert run(pcl, tmp_path).returncode == 0
    (binary,) = tmp_path.glob("*.clbin")
    binary.write_bytes(b"nonsense")
    assert run(pcl, tmp_path).returncode == 0
    assert binary.stat().st_size > 100


def test_without_opencl_it_runs_on_the_cpu_and_says_so(run: Run, pcl: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 14, 14), np.float32)
    done = run(pcl, x=x, PCONV_OPENCL_LIBRARY="/nowhere.so")
    assert done.returncode == 0
    assert done.stderr.decode() == "CPU: OpenCL: this machine has no libOpenCL\n"
    with load(pcl) as engine:
        expected = engine(x)
    got = np.frombuffer(done.stdout, np.float32).reshape(2, 10)
    assert np.abs(got - expected).max() <= 2e-2 * np.abs(expected).max()


def test_a_file_cut_off_runs_on_the_cpu_and_says_so(run: Run, pcl: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcl"
    cut.write_bytes(pcl.read_bytes()[:-100])
    done = run(cut)
    assert done.returncode == 0
    assert done.stderr.decode() == "CPU: OpenCL: this is no whole compiled model (.pcl)\n"
