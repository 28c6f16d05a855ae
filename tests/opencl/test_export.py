"""An exported folder with a GPU's model: a program links one target, and runs on the GPU or else on the CPU."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pconv import targets
from pconv.codegen import generate
from pconv.deploy import write_folder
from pconv.errors import BuildError
from pconv.lower import lower
from pconv.runtime import load

from .test_c_host import MAIN_C, network

pytestmark = [pytest.mark.opencl, pytest.mark.cc]

CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(app C)
add_subdirectory(out small)
add_executable(host main.c)
target_link_libraries(host PRIVATE small_gpu)
"""


def test_an_app_on_gpu_and_cpu(tmp_path: Path) -> None:
    program, gpu = (generate(lower(network(), targets.get(name))) for name in ("native", "opencl"))
    made = write_folder(program, tmp_path / "out", name="small", gpu=gpu)
    assert {str(path) for path in made.files if path.parts[0] == "gpu"} == {
        f"gpu/{file}"
        for file in (
            "README.md",
            "small.pcl",
            "auto.c",
            "auto.h",
            "bench_gpu.c",
            "opencl.c",
            "opencl.h",
            "opencl_api.h",
            "opencl_half.h",
        )
    }
    (tmp_path / "main.c").write_text(MAIN_C)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    for command in (
        ["cmake", "-S", tmp_path, "-B", tmp_path / "build", "-DCMAKE_C_FLAGS=-Wall -Werror"],
        ["cmake", "--build", tmp_path / "build", "--target", "host"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CC": "gcc"})
        assert done.returncode == 0, done.stdout + done.stderr
    x = np.random.default_rng(0).standard_normal((2, 3, 14, 14), np.float32)
    with load(tmp_path / "out" / "gpu" / "small.pcl") as engine:
        expected = engine(x)
    for environment, said in (({}, "GPU: "), ({"PCONV_OPENCL_LIBRARY": "/nowhere.so"}, "CPU: OpenCL: ")):
        done = subprocess.run(
            [tmp_path / "build" / "host", tmp_path / "out" / "gpu" / "small.pcl"],
            input=x.tobytes(),
            capture_output=True,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0 and done.stderr.decode().startswith(said), done.stderr
        found = np.frombuffer(done.stdout, np.float32).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_where_there_is_no_opencl(tmp_path: Path) -> None:
    ios, gpu, cpu = (
        generate(lower(network(), targets.get(n))) for n in ("ios-arm64", "opencl", "linux-aarch64")
    )
    with pytest.raises(BuildError, match=r"target ios-arm64: apps there have no OpenCL; export it without"):
        write_folder(ios, tmp_path / "out", gpu=gpu)
    with pytest.raises(
        BuildError, match=r"GPU 'aarch64': no target for one; allowed opencl, opencl-fp16, opencl-fp16-"
    ):
        write_folder(cpu, tmp_path / "out", gpu=cpu)
    assert list(tmp_path.iterdir()) == []
