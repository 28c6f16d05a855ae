"""Every kernel is OpenCL C 1.2 as an independent compiler and validator understand it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pconv import targets, zoo
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.codegen import generate
from pconv.codegen.opencl import SOURCE
from pconv.compiler import read_model
from pconv.graph import GraphView, load
from pconv.graph.prune import prune_model
from pconv.lower import lower
from pconv.recipe import Recipe

CLANG, TRANSLATOR, VALIDATOR = "clang-15", "llvm-spirv-15", "spirv-val"


@pytest.fixture(autouse=True)
def tools() -> None:
    """Ask for the tools, by name."""
    missing = [tool for tool in (CLANG, TRANSLATOR, VALIDATOR) if shutil.which(tool) is None]
    assert not missing, f"no {', '.join(missing)} (Debian: clang-15, llvm-spirv-15, spirv-tools)"


def check(view: GraphView, name: str, work: Path) -> None:
    """Compile a network's kernels for SPIR-V 1.0 and validate them for OpenCL 1.2; a warning is an error."""
    source, bitcode, binary = (work / f"model.{end}" for end in ("cl", "bc", "spv"))
    source.write_text(generate(lower(view, targets.get(name))).sources[SOURCE])
    front = ["-x", "cl", "-cl-std=CL1.2", "-target", "spir64-unknown-unknown", "-emit-llvm", "-c"]
    front += ["-Xclang", "-finclude-default-header"]
    strict = ["-O0", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-sign-compare"]
    for command in (
        [CLANG, *front, *strict, source, "-o", bitcode],
        [TRANSLATOR, "--spirv-max-version=1.0", bitcode, "-o", binary],
        [VALIDATOR, "--target-env", "opencl1.2", binary],
    ):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, f"{command[0]}: {(done.stderr or done.stdout)[:2000]}"


@pytest.mark.parametrize("name", targets.devices())
def test_registry(name: str, tmp_path: Path) -> None:
    cases = [case for family in FAMILIES.values() for case in family]
    check(network(cases, probe=True), name, tmp_path)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> GraphView:
    """Prune a network of the zoo."""
    file = zoo.to_onnx("resnet20_cifar", tmp_path_factory.mktemp("zoo") / "net.onnx")
    model, _ = prune_model(load(file), Recipe(compression_rate=8.0))
    return read_model(model)


@pytest.mark.torch
@pytest.mark.parametrize("name", targets.devices())
def test_network(name: str, pruned: GraphView, tmp_path: Path) -> None:
    check(pruned, name, tmp_path)
