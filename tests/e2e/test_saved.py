"""A saved model runs where neither torch nor onnx nor a compiler is installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pconv

from .conftest import TINY_SHAPE, Judge, draw, rel_err

pytestmark = pytest.mark.cc

SCRIPT = """
import sys
source, library, folder = sys.argv[1:]
sys.path.insert(0, source)
for blocked in ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "ziglang", "typer", "rich"):
    sys.modules[blocked] = None
import numpy as np
import pconv
engine = pconv.load(library, threads=2)
np.save(folder + "/y.npy", engine(np.load(folder + "/x.npy")))
"""


def test_loads_in_a_bare_interpreter(
    tiny_file: Path, tiny_library: Path, judge: Judge, tmp_path: Path
) -> None:
    x = draw(TINY_SHAPE, seed=5)
    np.save(tmp_path / "x.npy", x)
    source = Path(pconv.__file__).parents[1]
    command = [sys.executable, "-I", "-c", SCRIPT, str(source), str(tiny_library), str(tmp_path)]
    environment = {"PATH": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert rel_err(np.load(tmp_path / "y.npy"), judge(tiny_file, {"x": x})[0]) <= 1e-4
