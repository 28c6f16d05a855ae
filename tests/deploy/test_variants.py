"""An exported folder for several kinds of CPU builds by itself, and its static library keeps its names apart."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.harness import host_targets
from pconv.bench.case import Case, network
from pconv.cache import Cache
from pconv.codegen import Program, generate
from pconv.deploy import Exported, write_folder
from pconv.lower import lower
from pconv.runtime import Engine

pytestmark = pytest.mark.cc


def program() -> Program:
    """Return a fully connected layer for a CPU that nobody has, and for this one."""
    here, view = host_targets()[-1], network([Case("fc", "Gemm", 20, (), 4)])
    future = replace(here, name="future", features=("flux_capacitor",), lanes_f32=4)
    return generate(lower(view, future), lower(view, here))


@pytest.fixture(scope="module")
def folder(session_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return write_folder(program(), tmp_path_factory.mktemp("export") / "out", name="net")


def test_readme_and_names(folder: Exported) -> None:
    here = host_targets()[-1]
    readme = (folder.folder / "README.md").read_text()
    assert f"for future, else {here.name}." in readme
    assert f"The CPU must have: {', '.join(here.features)};" in readme
    archive = folder.folder / "lib" / folder.platform / "libnet.a"
    listed = subprocess.run(
        ["nm", "-g", "--defined-only", archive], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines() if line and not line.endswith(":")}
    assert "net_OWN_plan_1" in names and all(name.startswith("net_") for name in names)


def test_cmake_builds_the_folder(folder: Exported, tmp_path: Path) -> None:
    made = tmp_path / "build"
    for command in (
        ["cmake", "-S", folder.folder, "-B", made, "-DCMAKE_C_FLAGS=-Wall -Werror"],
        ["cmake", "--build", made],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CC": "gcc"})
        assert done.returncode == 0, done.stdout + done.stderr
    x = np.random.default_rng(0).standard_normal((1, 20), np.float32)
    shared = folder.folder / "lib" / folder.platform / "libnet.so"
    with Engine(made / "libnet.so", threads=1) as engine, Engine(shared, threads=1) as ours:
        assert engine.manifest == ours.manifest
        assert engine.manifest["variants"] == ["future", engine.manifest["target"]["name"]]
        np.testing.assert_allclose(engine(x), ours(x), rtol=1e-5)
    bench = subprocess.run(
        [made / "pconv_bench", "--repeat", "1"], capture_output=True, text=True, check=True
    )
    assert json.loads(bench.stdout)["manifest"] == ours.manifest
