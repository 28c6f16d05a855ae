"""C text that a measurement needs, as a library."""

import ctypes
from pathlib import Path

from pconv import toolchain
from pconv.build import call_compiler
from pconv.cache import Cache
from pconv.targets import Target


def library(text: str, name: str, target: Target, cc: str | None, folder: Path) -> ctypes.CDLL:
    """Compile a text for this machine and load it; the folder may go then.

    Raises: BuildError when there is no working compiler.
    """
    made = folder / f"{name}.so"
    compiler = toolchain.choose(cc, target)
    (folder / f"{name}.c").write_text(text)
    flags = (*compiler.base_flags(target), "-fvisibility=default", *compiler.cpu_flags(target))
    arguments = [*flags, f"{name}.c", "-o", made.name, *compiler.library_flags(target)]
    return ctypes.CDLL(str(call_compiler(compiler.command, arguments, made, folder, Cache(), f"{name}.c")))
