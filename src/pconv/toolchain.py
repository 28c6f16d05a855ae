"""Which C compiler, and how it is told about a target."""

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pconv.errors import BuildError
from pconv.targets import Target

HOST_COMPILERS = ("clang", "gcc", "cc")

COMMON_FLAGS = (
    *("-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-g0"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-stack-protector"),
)


# Android's own code keeps a second stack in x18. (zig drops clang's flag for it.)
_ZIG_KEEPS_X18 = ("-Xclang", "-target-feature", "-Xclang", "+reserve-x18")
# Android's loader looks for symbols in NEEDED libraries alone, and pages there have up to 16 KiB.
_ANDROID_LINK = ("-nostdlib", "-Wl,-z,max-page-size=16384", "-Wl,-z,common-page-size=16384")
# -Bsymbolic: a model's functions call each other, whatever other model the program loaded.
_ELF_LIBRARY = ("-shared", "-Wl,-z,defs", "-Wl,-Bsymbolic")
_LIBC = ("-lm", "-lpthread")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler's command, what it calls itself, and whether it is zig's."""

    command: tuple[str, ...]
    version: str
    zig: bool

    def base_flags(self, target: Target) -> tuple[str, ...]:
        """Return the flags for code that must run on any CPU of the target's architecture."""
        flags: tuple[str, ...] = COMMON_FLAGS
        if target.arch == "aarch64" and target.os in ("linux", "android"):
            flags = (*flags, "-mno-outline-atomics")  # those would need a helper library at link time
        if target.arch == "aarch64" and target.os == "android":
            flags = (*flags, *(_ZIG_KEEPS_X18 if self.zig else ("-ffixed-x18",)))
        if not self.zig:
            return flags
        # zig's default is to turn undefined behaviour into traps.
        return (*_zig_target(target), *flags, "-fno-sanitize=all", *_ios_headers(target))

    def cpu_flags(self, target: Target) -> tuple[str, ...]:
        """Return the flags that let the compiler use all of the target's instructions."""
        return target.zig_cflags if self.zig else target.cflags

    def library_flags(self, target: Target) -> tuple[str, ...]:
        """Return the flags that link a shared library which leaves nothing undefined.

        Raises: BuildError where the system takes no shared libraries of an app's.
        """
        if target.os == "ios":
            raise BuildError(
                "target ios-arm64: apps there link models statically; allowed `pconv export --target ios-arm64`."
            )
        if target.os == "android":
            return (*_ELF_LIBRARY, *(_zig_target(target) if self.zig else ()), *_ANDROID_LINK)
        return (*(_ELF_LIBRARY if target.os == "linux" else ("-shared",)), *self.executable_flags(target))

    def executable_flags(self, target: Target) -> tuple[str, ...]:
        """Return the flags that link with the C library."""
        if not self.zig:
            return _LIBC
        # Without -nostdlib zig compiles its own run-time support first, for half a minute; we need none.
        return (*_zig_target(target), "-nostdlib", "-lc", *_LIBC)

    def bare_executable_flags(self, target: Target) -> tuple[str, ...]:
        """Return the flags that link a static executable without a C library, for Linux and Android."""
        return ("-static", *(_zig_target(target) if self.zig else ("-no-pie",)), *_ANDROID_LINK)

    def bionic_executable_flags(self, target: Target) -> tuple[str, ...]:
        """Return the flags that link an executable which Android's loader starts, with libraries named apart."""
        loader = ("-pie", "-Wl,--dynamic-linker,/system/bin/linker64")
        return (*loader, *(_zig_target(target) if self.zig else ()), *_ANDROID_LINK)

    @property
    def archiver(self) -> tuple[str, ...]:
        """Return the command that makes static libraries."""
        if not self.zig:
            return ("ar",)
        cc = self.command.index("cc") if "cc" in self.command else 0  # flags may stand behind it
        return (*self.command[:cc], "ar")


def choose(cc: str | None, target: Target) -> Toolchain:
    """Return the compiler to use: `cc`, else PCONV_CC, else the ziglang wheel's, else the host's.

    Raises: BuildError when there is none, or it does not run.
    """
    named = cc or os.environ.get("PCONV_CC")
    if named:
        try:
            command = tuple(shlex.split(named))
        except ValueError as error:
            raise BuildError(f"compiler {named}: {error}; allowed a command as a shell reads it.") from error
        return _probe(command, named)
    zig = _wheel_zig()
    if zig is not None:
        return _probe((str(zig), "cc"), "zig cc")
    host = next((name for name in HOST_COMPILERS if shutil.which(name)), None)
    if host is None:
        raise BuildError(
            "no C compiler was found; allowed zig's (pip install ziglang), clang or gcc. Install one, or "
            "name one in PCONV_CC."
        )
    here = "macos" if platform.system() == "Darwin" else "linux"
    foreign = target.os not in {"linux": ("linux", "android"), "macos": ("macos",)}[here]
    if foreign or target.arch != platform.machine().replace("arm64", "aarch64"):
        raise BuildError(
            f"target {target.name} on {target.os}: this machine's {host} compiles for {here} on "
            f"{platform.machine()} only. "
            "Run `pip install ziglang`, or name a cross compiler in PCONV_CC."
        )
    return _probe((host,), host)


def environment(zig_global: Path, zig_local: Path) -> Mapping[str, str]:
    """Return the environment to run a compiler in: zig keeps its files in ours."""
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(zig_global), "ZIG_LOCAL_CACHE_DIR": str(zig_local)}


def _zig_target(target: Target) -> tuple[str, ...]:
    return ("-target", target.zig_target) if target.zig_target else ()


def _ios_headers(target: Target) -> tuple[str, ...]:
    """Name zig's headers of Darwin, which it takes by itself for macOS only."""
    zig = _wheel_zig()
    if target.os != "ios" or zig is None:
        return ()
    return ("-isystem", str(zig.parent / "lib" / "libc" / "include" / "any-darwin-any"))


def _wheel_zig() -> Path | None:
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec and spec.submodule_search_locations) or ():
        zig = Path(folder) / "zig"
        if zig.is_file():
            return zig
    return None


def _probe(command: tuple[str, ...], name: str) -> Toolchain:
    try:
        with TemporaryDirectory(prefix="pconv-") as folder:  # zig wants its caches even for this
            answer = subprocess.run(
                [*command, "--version"],
                capture_output=True,
                text=True,
                check=True,
                env=environment(Path(folder), Path(folder)),
            )
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.strerror if isinstance(error, OSError) else f"exit code {error.returncode}"
        raise BuildError(
            f"C compiler {name!r}: it does not run ({why}); allowed a command that understands gcc's options."
            " Set PCONV_CC, or `pip install ziglang` and leave it unset."
        ) from error
    version = answer.stdout.partition("\n")[0].strip()
    return Toolchain(command, version, zig=any(Path(word).stem in ("zig", "ziglang") for word in command))
