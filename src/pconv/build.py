"""Program -> machine code: C files compiled side by side, weights taken in as they are, one link for each file.

Owns what the compiler is run on; refuses to know what the C text means.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pconv import bundle, toolchain
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.elf import write_data_object
from pconv.errors import BuildError
from pconv.files import write_atomically
from pconv.progress import Progress
from pconv.runtime.cores import usable_cores
from pconv.runtime.seal import seal
from pconv.toolchain import Toolchain

NATIVE = Path(__file__).parent / "runtime" / "native"
RUNTIME_SOURCES = ("runtime.c", "pool.c", "sharing.c", "cpu.c")

# Where no C library is linked (native/bare/bare.h says why), these take its place.
BARE_LIBRARY = ("bare/bare.c", "bare/threads.c", "bare/text.c")
BARE_ARCHIVE = ("bare/bare.c", "bare/threads.c")
BARE_PROGRAM = (*BARE_LIBRARY, "bare/start.c")
ELF_SYSTEMS = ("linux", "android")

LITTLE_BYTES = 4 << 20
"""A disk with less left cannot hold what a compiler writes meanwhile."""
ODD_LETTERS = ':%\\"'
"""In a path, some compilers take them for something else."""

_INTERRUPTED = (-signal.SIGINT, 128 + signal.SIGINT)
"""How a compiler ends by Ctrl-C, which all processes of a terminal hear."""

_ADVICE = "Name another place for the output."


def build(
    program: Program,
    *,
    cc: str | None = None,
    out: str | os.PathLike[str] | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Path:
    """Compile a program to a shared library; return its path in the cache, or `out` where one is named.

    `cc` is a compiler's command; `progress(what, done, total)` is called as files get done.

    Raises: BuildError when there is no compiler, it fails, or its output cannot be written.
    """
    cache = cache or Cache()
    if program.target.arch == "opencl":
        packed = bundle.pack(program, cache)
        return packed if out is None else _copy(packed, out)
    key = program_key(program, toolchain.choose(cc, program.target))
    library = cache.find_sealed(key)
    if library is None:
        with compiled(program, cc=cc, cache=cache, progress=progress) as objects:
            library = cache.store(key, objects.link_shared())
    return library if out is None else _copy(library, out)


def build_executable(
    program: Program,
    main_c: str,
    out: str | os.PathLike[str],
    *,
    bare: bool = False,
    cc: str | None = None,
    cache: Cache | None = None,
) -> Path:
    """Compile a program and a C `main` to one executable file, as `Objects.executable` says.

    Raises: BuildError as `build` does.
    """
    with compiled(program, cc=cc, cache=cache) as objects:
        return objects.executable(main_c, out, bare=bare)


def build_bench(
    program: Program,
    out: str | os.PathLike[str],
    *,
    cc: str | None = None,
    cache: Cache | None = None,
) -> Path:
    """Compile a program to pconv_bench: an executable that prints what each layer takes, as JSON.

    Raises: BuildError as `build` does.
    """
    with compiled(program, cc=cc, cache=cache) as objects:
        return objects.bench(out)


@contextmanager
def compiled(
    program: Program,
    names: Mapping[str, str] | None = None,
    *,
    cc: str | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Iterator["Objects"]:
    """Compile a program's own code once, and give what links it to one file after another.

    `names` gives symbols of the program and of the run time other names.

    Raises: BuildError as `build` does.
    """
    cache = cache or Cache()
    compiler = toolchain.choose(cc, program.target)
    with cache.scratch() as work:
        objects = Objects(program, compiler, work, cache, names or {})
        objects.compile(progress)
        yield objects


def program_key(program: Program, compiler: Toolchain) -> str:
    """Return the hash of everything that the library's bytes depend on."""
    digest = hashlib.sha256()
    flags = (compiler.base_flags, compiler.library_flags)
    said = {
        "variants": [[v.sources, compiler.cpu_flags(v.target)] for v in program.variants],
        "runtime": {str(path.relative_to(NATIVE)): path.read_text() for path in NATIVE.rglob("*.[ch]")},
        "compiler": [compiler.version, *compiler.command[1:]],
        "flags": [flag(program.target) for flag in flags],
    }
    digest.update(json.dumps(said, sort_keys=True).encode())
    digest.update(program.weights)
    return digest.hexdigest()


def _copy(made: Path, out: str | os.PathLike[str]) -> Path:
    with made.open("rb") as file:
        return write_atomically(Path(out), file, _ADVICE)


@dataclass(frozen=True, slots=True)
class Objects:
    """A program's own code and weights as object files in `work`, to be linked with a run time.

    Only the program's own code may use all that its CPU has: the run time runs anywhere.
    """

    program: Program
    compiler: Toolchain
    work: Path
    cache: Cache
    names: Mapping[str, str]
    own: list[Path] = field(default_factory=list)

    def compile(self, progress: Progress | None) -> None:
        """Write the program down and compile it, as many files at a time as there are cores."""
        base = self._flags(self._brings_library, self.names)
        jobs = []
        for variant in self.program.variants:
            flags = (*base, *self.compiler.cpu_flags(variant.target))
            for name, text in variant.sources.items():
                (self.work / name).write_text(text)
            jobs += [(self.work / name, flags) for name in variant.sources if name.endswith(".c")]
        # The largest first, so that the last one to end is short.
        jobs.sort(key=lambda job: -job[0].stat().st_size)
        self.own.extend((self._take_in_weights(base), *self._compile(jobs, "model", progress)))

    def static(self, out: str | os.PathLike[str], names: Mapping[str, str]) -> Path:
        """Make a static library, in which `names` gives the functions of pconv.h other names."""
        made = self.work / "model.a"
        runtime = self._runtime("static", BARE_ARCHIVE if self._brings_library else (), names)
        files = ("rcsD", made, *self.own, *runtime)
        return _copy(self._run([*map(str, files)], made.name, made, self.compiler.archiver), out)

    def shared(self, out: str | os.PathLike[str]) -> Path:
        """Make a shared library."""
        return _copy(self.link_shared(), out)

    def link_shared(self) -> Path:
        """Make a shared library beside the object files, sealed where a loader takes what follows it."""
        runtime = self._runtime("shared", BARE_LIBRARY if self._brings_library else ())
        made = self._link(runtime, self.compiler.library_flags(self.program.target), "model.so")
        if self.program.target.os in ELF_SYSTEMS:
            seal(made)
        return made

    def bench(self, out: str | os.PathLike[str]) -> Path:
        """Make pconv_bench; where it can, it needs no C library."""
        bare = self.program.target.os in ELF_SYSTEMS
        return self.executable((NATIVE / "bench.c").read_text(), out, bare=bare)

    def executable(self, main_c: str, out: str | os.PathLike[str], *, bare: bool = False) -> Path:
        """Make an executable file of a C `main` that includes "pconv.h".

        It needs the target's C library where it runs: under qemu, `-L` names a directory with one. With `bare` it
        is static and needs nothing but Linux (or Android); its `main` may use what native/bare/bare.h has.
        """
        target = self.program.target
        main = self.work / "main.c"
        main.write_text(main_c)
        runtime = self._runtime("executable", BARE_PROGRAM if bare else (), main=main)
        flags = self.compiler.bare_executable_flags if bare else self.compiler.executable_flags
        path = _copy(self._link(runtime, flags(target), "main"), out)
        path.chmod(0o755)
        return path

    @property
    def _brings_library(self) -> bool:
        return self.program.target.os == "android"

    def _flags(self, bare: bool, names: Mapping[str, str]) -> tuple[str, ...]:
        """Return the flags for code that runs anywhere; a header renames what it defines and calls."""
        flags = (*self.compiler.base_flags(self.program.target), f"-I{NATIVE}")
        flags = (*flags, f"-I{NATIVE / 'bare'}") if bare else flags
        if not names:
            return flags
        text = "".join(f"#define {old} {new}\n" for old, new in names.items())
        header = self.work / f"names_{hashlib.sha256(text.encode()).hexdigest()[:16]}.h"
        header.write_text(text)
        return (*flags, "-include", str(header))

    def _runtime(
        self,
        kind: str,
        bare: tuple[str, ...],
        names: Mapping[str, str] | None = None,
        main: Path | None = None,
    ) -> list[Path]:
        """Compile the run time for one kind of file, with what it brings of a C library."""
        flags = self._flags(bool(bare), {**self.names, **(names or {})})
        sources = [NATIVE / name for name in (*RUNTIME_SOURCES, *bare)] + ([main] if main else [])
        return self._compile([(source, flags) for source in sources], kind)

    def _compile(
        self, jobs: Iterable[tuple[Path, tuple[str, ...]]], kind: str, progress: Progress | None = None
    ) -> list[Path]:
        """Compile each source with its flags; a model may have a pool.c as the run time has, and their kind differs."""
        running: list[Future[Path]] = []
        with ThreadPoolExecutor(usable_cores()) as threads:
            for source, flags in jobs:
                running.append(threads.submit(self._compile_one, source, flags, kind))
            try:
                for done, future in enumerate(as_completed(running), 1):
                    future.result()
                    if progress:
                        progress("compile", done, len(running) + 1)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        if progress:
            progress("link", len(running) + 1, len(running) + 1)
        return [future.result() for future in running]

    def _compile_one(self, source: Path, flags: tuple[str, ...], kind: str) -> Path:
        made = self.work / f"{kind}-{source.stem}.o"
        return self._run([*flags, "-c", str(source), "-o", str(made)], source.name, made)

    def _take_in_weights(self, flags: tuple[str, ...]) -> Path:
        """Make the object that holds the weights."""
        weights, name = self.program.weights, "pconv_weights"
        if self.program.target.os in ELF_SYSTEMS:
            blobs = {self.names.get(name, name): weights}
            return write_data_object(self.work / "weights.o", self.program.target.arch, blobs)
        file = self.work / "weights.bin"
        file.write_bytes(weights)
        return self._compile_one(NATIVE / "weights.c", (*flags, f'-DPCONV_WEIGHTS_FILE="{file}"'), "model")

    def _link(self, runtime: Iterable[Path], flags: tuple[str, ...], name: str) -> Path:
        made = self.work / name
        return self._run([*map(str, (*self.own, *runtime)), "-o", str(made), *flags], name, made)

    def _run(self, arguments: list[str], name: str, made: Path, command: tuple[str, ...] = ()) -> Path:
        return call_compiler(command or self.compiler.command, arguments, made, self.work, self.cache, name)


def call_compiler(
    command: tuple[str, ...], arguments: list[str], made: Path, work: Path, cache: Cache, name: str = ""
) -> Path:
    """Run a compiler in `work`; return the file that it `made`. An error begins with `name`, by default that file's.

    Raises: BuildError when it fails; the C text in `work` is kept then.
    """
    try:
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=work,
            env=toolchain.environment(cache.root / "zig", work / "zig"),
        )
    except OSError as error:
        raise BuildError(
            f"{command[0]}: it does not run ({error.strerror}). Install it, or name another compiler in PCONV_CC."
        ) from error
    if done.returncode == 0 and made.is_file():
        return made
    if done.returncode in _INTERRUPTED:
        raise KeyboardInterrupt
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "it said nothing")
    full = not lines and shutil.disk_usage(work).free < LITTLE_BYTES  # zig dies without a word
    if "No space left on device" in done.stderr or full:
        raise BuildError(
            f"{cache.root}: no space left on device. Free some, or name another directory in PCONV_CACHE."
        )
    if odd := [letter for letter in ODD_LETTERS if letter in str(cache.root)]:
        raise BuildError(
            f"{cache.root}: the compiler fails where its files lie, and many take no {odd[0]!r} in a path ({said}). "
            "Name another directory in PCONV_CACHE."
        )
    kept = cache.root / "failed" / work.name
    # Several files may fail at a time, and what else is being compiled comes and goes.
    with suppress(OSError):
        shutil.copytree(
            work, kept, ignore=shutil.ignore_patterns("zig", "*.o", "*.tmp", "*.bin"), dirs_exist_ok=True
        )
    raise BuildError(
        f"{name or made.name}: {' '.join(command)} failed (exit code {done.returncode}): {said}. The C "
        f"text is kept in {kept}; try another compiler with PCONV_CC, or report this as a bug."
    )
