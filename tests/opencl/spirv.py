"""OpenCL C of kernels, as an independent compiler and validator understand it."""

import shutil
import subprocess
from pathlib import Path

CLANG, TRANSLATOR, VALIDATOR = "clang-15", "llvm-spirv-15", "spirv-val"


def validate(source: str, work: Path) -> None:
    """Compile for SPIR-V 1.0 and validate for OpenCL 1.2; a warning is an error."""
    missing = [tool for tool in (CLANG, TRANSLATOR, VALIDATOR) if shutil.which(tool) is None]
    assert not missing, f"no {', '.join(missing)} (Debian: clang-15, llvm-spirv-15, spirv-tools)"
    text, bitcode, binary = (work / f"model.{end}" for end in ("cl", "bc", "spv"))
    text.write_text(source)
    front = ["-x", "cl", "-cl-std=CL1.2", "-target", "spir64-unknown-unknown", "-emit-llvm", "-c"]
    front += ["-Xclang", "-finclude-default-header"]
    strict = ["-O0", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-sign-compare"]
    for command in (
        [CLANG, *front, *strict, text, "-o", bitcode],
        [TRANSLATOR, "--spirv-max-version=1.0", bitcode, "-o", binary],
        [VALIDATOR, "--target-env", "opencl1.2", binary],
    ):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, f"{command[0]}: {(done.stderr or done.stdout)[:2000]}"
