"""Owns pconv_gpu_bench: an executable for one platform that times any model compiled for OpenCL.

It loads OpenCL when it runs, and so needs the platform's own loader and C library. Android's are not at hand where
models are compiled: it is linked with stand-ins that have their names and functions, and meets the real ones there.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pconv import toolchain
from pconv.build import ELF_SYSTEMS, NATIVE, call_compiler
from pconv.cache import Cache
from pconv.files import write_atomically
from pconv.runtime.seal import seal
from pconv.targets import Target
from pconv.toolchain import Toolchain

SOURCES = ("bench_gpu.c", "opencl.c")
BIONIC = {
    "libc": "__libc_init atoi calloc clock_gettime close fclose fopen fread free fseek ftell fwrite getenv getpid "
    "malloc memcmp memcpy memset open read realloc remove rename rewind sched_setaffinity snprintf strchr "
    "strcmp strcspn strlen strncmp strspn strtoull write",
    "libdl": "dlclose dlopen dlsym",
}
"""What the executable takes from Android's libraries."""


def build_gpu_bench(
    target: Target, out: str | os.PathLike[str], *, cc: str | None = None, cache: Cache | None = None
) -> Path:
    """Compile pconv_gpu_bench for a platform; it comes from the cache where it was compiled before.

    Raises: BuildError when there is no compiler, it fails, or the file cannot be written.
    """
    cache = cache or Cache()
    compiler = toolchain.choose(cc, target)
    texts = {path.name: path.read_text() for path in sorted(NATIVE.glob("*.[ch]"))}
    flags = (compiler.base_flags(target), _link_flags(compiler, target))
    said = (compiler.version, compiler.command[1:], target.os, target.arch, flags, BIONIC, texts)
    key = hashlib.sha256(repr(said).encode()).hexdigest()
    found = cache.find_sealed(key)
    if found is None:
        with cache.scratch() as work:
            made = _link(compiler, target, work, cache)
            if target.os in ELF_SYSTEMS:
                seal(made)
            found = cache.store(key, made)
    with found.open("rb") as file:
        path = write_atomically(Path(out), file, "Name another place for the output.")
    path.chmod(0o755)
    return path


def _link(compiler: Toolchain, target: Target, work: Path, cache: Cache) -> Path:
    android = target.os == "android"
    sources = [NATIVE / name for name in (*SOURCES, *(("bionic.c",) if android else ()))]
    # Of Android's own functions these take no more than musl's declare alike; zig brings that one's headers.
    headers = f"{target.arch}-linux-musl" if android else target.zig_target
    flags = [*compiler.base_flags(replace(target, zig_target=headers)), f"-I{NATIVE}"]
    objects = list(_compile(compiler, flags, sources, work, cache))
    if android:
        objects += _stand_ins(compiler, target, work, cache)
    made = work / "pconv_gpu_bench"
    arguments = [*map(str, objects), "-o", str(made), *_link_flags(compiler, target)]
    return call_compiler(compiler.command, arguments, made, work, cache)


def _link_flags(compiler: Toolchain, target: Target) -> tuple[str, ...]:
    if target.os == "android":
        return compiler.bionic_executable_flags(target)
    return (*compiler.executable_flags(target), *(("-ldl",) if target.os == "linux" else ()))


def _compile(
    compiler: Toolchain, flags: list[str], sources: Iterable[Path], work: Path, cache: Cache
) -> Iterable[Path]:
    for source in sources:
        made = work / f"{source.stem}.o"
        yield call_compiler(compiler.command, [*flags, "-c", str(source), "-o", str(made)], made, work, cache)


def _stand_ins(compiler: Toolchain, target: Target, work: Path, cache: Cache) -> list[Path]:
    """Make the libraries to link with."""
    made = []
    for name, functions in BIONIC.items():
        source, library = work / f"{name}.c", work / f"{name}.so"
        source.write_text("".join(f"void {function}(void) {{}}\n" for function in functions.split()))
        flags = [*compiler.base_flags(target), "-fvisibility=default", "-fno-builtin", "-w"]
        link = [*compiler.library_flags(target), f"-Wl,-soname,{library.name}", "-o", str(library)]
        made.append(call_compiler(compiler.command, [*flags, str(source), *link], library, work, cache))
    return made
