"""Open a compiled model, whatever it was compiled for."""

import os
from pathlib import Path

from pconv.runtime.engine import Engine
from pconv.runtime.opencl import OpenclEngine
from pconv.runtime.opencl_file import is_opencl_file


def load(path: str | os.PathLike[str], threads: int | None = None) -> Engine:
    """Load a compiled model; `threads` defaults to the physical cores at hand, and means nothing to a GPU.

    Raises: ArtefactError when the file is no model for this machine and version.
    """
    return OpenclEngine(path) if is_opencl_file(Path(path)) else Engine(path, threads)
