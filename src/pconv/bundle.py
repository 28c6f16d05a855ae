"""Program for OpenCL -> one file, content-addressed: the device's own driver compiles it where it runs."""

import hashlib
import json
from pathlib import Path

from pconv.cache import Cache
from pconv.codegen.opencl import SOURCE
from pconv.codegen.program import Program
from pconv.runtime.opencl_file import MAGIC, write_opencl_file
from pconv.runtime.seal import seal


def pack(program: Program, cache: Cache) -> Path:
    """Put kernels, constants and launches together; return the file's path in the cache.

    Raises: BuildError when it cannot be written.
    """
    source = program.sources[SOURCE]
    digest = hashlib.sha256(MAGIC + json.dumps([program.manifest, source], sort_keys=True).encode())
    digest.update(program.weights)
    key = digest.hexdigest()
    found = cache.find_sealed(key)
    if found is None:
        with cache.scratch() as work:
            with (work / "model").open("wb") as file:
                write_opencl_file(file, program.manifest, source, program.weights)
            seal(work / "model")
            found = cache.store(key, work / "model")
    return found
