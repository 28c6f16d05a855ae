"""What a model's symbols are called: every one begins with the model's own name.

A static library shares one space of names with its program, and two models share micro-kernels by name. So the
files are compiled with a header that renames all that they define: the functions of pconv.h to net_run, what is the
model's own to net_OWN_step. As no prefix has capitals, those are of no other model, such as net_pool, nor of C.
"""

import re
from collections.abc import Mapping

from pconv.build import NATIVE
from pconv.codegen.program import Program
from pconv.errors import BuildError

_HEADER = NATIVE / "pconv.h"
_PREFIXES = ("pconv", "pool", "sharing")
_OURS = re.compile(rf"\b(?:{'|'.join(_PREFIXES)})_\w+")
_TARGETS = "all clean depend edit_cache help install package rebuild_cache test"
"""What CMake and its generators call targets of their own."""
_FUNCTIONS = "fts mq sem shm svc"
"""What functions of the system begin with, such as sem_open, that would be the model's as well."""
_TYPES = """
    array auto_closeable char error float float_array int int32 long opaque_pointer self string suppress synchronized
    system unsafe_buffer_pointer unsafe_mutable_pointer unsafe_pointer
"""
"""What the wrappers call types of Kotlin and Swift, which a class of that name would hide."""
_LIBRARIES = "aaudio android atomic c camera2ndk dl egl gcc icu log m mediandk rt stdc sync util vulkan z"
"""Libraries of the systems, which a program that names one with -l would not find behind the model's."""
_HEADERS = """
    aio alloca assert byteswap complex cpuid ctype dirent dlfcn elf endian errno error execinfo fcntl features fenv
    float fnmatch ftw getopt glob grp iconv inttypes iso646 jni langinfo libgen limits link locale malloc math memory
    mqueue netdb paths poll pthread pwd regex resolv sched search semaphore setjmp signal spawn stdalign stdarg
    stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings syscall syslog tar termios tgmath threads
    time uchar ucontext unistd utime values wait wchar wctype wordexp
"""
"""Headers of C and of Linux, which one of that name in include/ would hide from a whole program."""
_BESIDE = "auto opencl opencl_api opencl_half"
"""Headers beside the model's."""
_TAKEN = frozenset(f"{_TARGETS} {_FUNCTIONS} {_TYPES} {_LIBRARIES} {_HEADERS} {_BESIDE}".split())
_INTERNAL = "OWN"
_FUNCTION = re.compile(r"^PCONV_API [^;]*?\b(pconv_\w+)\([^;]*;", re.MULTILINE)


def identifier(name: str) -> str:
    """Make a model's name a prefix for C, and a target for CMake: letters, digits, underscores, a letter in front.

    What C, a linker, CMake, Kotlin or Swift would take for something of their own is a model_, as is what begins with a
    digit.

    Raises: BuildError when nothing of it is left, or it is a prefix of the run time's own.
    """
    made = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    made = f"model_{made}" if made[:1].isdigit() or made in _TAKEN else made
    if not made or made in _PREFIXES:
        raise BuildError(f"name {name!r}: no name for a C library; allowed letters and digits. Use --name.")
    return made


def class_name(name: str) -> str:
    """Make a prefix the name of a class: resnet20_cifar becomes Resnet20Cifar."""
    return "".join(part.capitalize() for part in name.split("_"))


def renames(program: Program, name: str) -> Mapping[str, str]:
    """Return the new name of every symbol that a model's files may define, but for the functions of pconv.h."""
    headers = [path.read_text() for path in sorted(NATIVE.rglob("*.h"))]
    ours = {found for text in headers for found in _OURS.findall(text)} - interface(name).keys()
    kernels = sorted(file.removesuffix(".c") for file in program.files if file != "model.c")
    return {old: f"{name}_{_INTERNAL}_{_bare(old)}" for old in (*sorted(ours), *kernels)}


def interface(name: str) -> Mapping[str, str]:
    """Return the new names of the functions of pconv.h, which a static library has."""
    return {found[1]: f"{name}_{_bare(found[1])}" for found in _FUNCTION.finditer(_HEADER.read_text())}


def declarations(name: str) -> str:
    """Return the functions of pconv.h as a static library calls them."""
    return "\n".join(
        re.sub(r"\s+", " ", found[0]).replace(f"{found[1]}(", f"{interface(name)[found[1]]}(")
        for found in _FUNCTION.finditer(_HEADER.read_text())
    )


def _bare(old: str) -> str:
    return old.removeprefix("pconv_")
