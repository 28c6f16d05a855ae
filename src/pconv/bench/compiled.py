"""C text that a measurement needs, as a library."""

import ctypes
import subprocess
from pathlib import Path

from pconv import toolchain
from pconv.cache import Cache
from pconv.errors import BuildError
from pconv.targets import Target


def library(text: str, name: str, target: Target, cc: str | None, folder: Path) -> ctypes.CDLL:
    """Compile a text for this machine and load it; the folder may go then.

    Raises: BuildError when there is no working compiler.
    """
    compiler = toolchain.choose(cc, target)
    (folder / f"{name}.c").write_text(text)
    flags = (*compiler.base_flags(target), "-fvisibility=default", *compiler.cpu_flags(target))
    done = subprocess.run(
        [*compiler.command, *flags, f"{name}.c", "-o", f"{name}.so", *compiler.library_flags(target)],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        env=toolchain.environment(Cache().root / "zig", folder / "zig"),
    )
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        raise BuildError(
            f"{name}.c: {' '.join(compiler.command)} failed: {said}. Try another compiler with --cc."
        )
    return ctypes.CDLL(str(folder / f"{name}.so"))
