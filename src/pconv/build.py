"""Program -> machine code: C files compiled side by side, weights taken in as they are, one link.

Owns what the compiler is run on; refuses to know what the C text means.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from pconv import bundle, toolchain
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.elf import write_data_object
from pconv.errors import BuildError
from pconv.files import write_atomically
from pconv.toolchain import Toolchain

NATIVE = Path(__file__).parent / "runtime" / "native"
RUNTIME_SOURCES = ("runtime.c", "pool.c", "cpu.c")

# Where no C library is linked (native/bare/bare.h says why), these take its place.
BARE_LIBRARY = ("bare/bare.c", "bare/threads.c", "bare/text.c")
BARE_ARCHIVE = ("bare/bare.c", "bare/threads.c")
BARE_PROGRAM = (*BARE_LIBRARY, "bare/start.c")
ELF_SYSTEMS = ("linux", "android")

Progress = Callable[[str, int, int], None]

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
    compiler = toolchain.choose(cc, program.target)
    key = program_key(program, compiler)
    library = cache.find(key)
    if library is None:
        with cache.scratch() as work:
            job = _Job(program, compiler, work, cache, _bare(program, BARE_LIBRARY))
            objects = job.compile(progress)
            made = job.link(objects, compiler.library_flags(program.target), "model.so")
            library = cache.store(key, made)
    return library if out is None else _copy(library, out)


def build_static(
    program: Program,
    names: Mapping[str, str],
    out: str | os.PathLike[str],
    *,
    cc: str | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Path:
    """Compile a program to a static library in which every symbol has the name that `names` gives it.

    Raises: BuildError as `build` does.
    """
    cache = cache or Cache()
    compiler = toolchain.choose(cc, program.target)
    with cache.scratch() as work:
        job = _Job(program, compiler, work, cache, _bare(program, BARE_ARCHIVE), names)
        return _copy(job.archive(job.compile(progress)), out)


def build_executable(
    program: Program,
    main_c: str,
    out: str | os.PathLike[str],
    *,
    bare: bool = False,
    cc: str | None = None,
    cache: Cache | None = None,
) -> Path:
    """Compile a program and a C `main` that includes "pconv.h" to one executable file.

    It needs the target's C library where it runs: under qemu, `-L` names a directory with one. With `bare` it
    is static and needs nothing but Linux (or Android); its `main` may use what native/bare/bare.h has.

    Raises: BuildError as `build` does.
    """
    cache = cache or Cache()
    target = program.target
    compiler = toolchain.choose(cc, target)
    with cache.scratch() as work:
        job = _Job(program, compiler, work, cache, BARE_PROGRAM if bare else ())
        objects = job.compile(None, {"main.c": main_c})
        flags = compiler.bare_executable_flags(target) if bare else compiler.executable_flags(target)
        path = _copy(job.link(objects, flags, "main"), out)
        path.chmod(0o755)
    return path


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
    main_c = (NATIVE / "bench.c").read_text()
    bare = program.target.os in ELF_SYSTEMS
    return build_executable(program, main_c, out, bare=bare, cc=cc, cache=cache)


def _bare(program: Program, sources: tuple[str, ...]) -> tuple[str, ...]:
    return sources if program.target.os == "android" else ()


def _copy(made: Path, out: str | os.PathLike[str]) -> Path:
    with made.open("rb") as file:
        return write_atomically(Path(out), file, _ADVICE)


def program_key(program: Program, compiler: Toolchain) -> str:
    """Return the hash of everything that the library's bytes depend on."""
    digest = hashlib.sha256()
    flags = (compiler.base_flags, compiler.library_flags)
    said = {
        "variants": [[v.sources, v.manifest, compiler.cpu_flags(v.target)] for v in program.variants],
        "runtime": {str(path.relative_to(NATIVE)): path.read_text() for path in NATIVE.rglob("*.[ch]")},
        "compiler": [compiler.version, *compiler.command[1:]],
        "flags": [flag(program.target) for flag in flags],
    }
    digest.update(json.dumps(said, sort_keys=True).encode())
    digest.update(program.weights)
    return digest.hexdigest()


def manifest_bytes(program: Program) -> bytes:
    """Return what each variant says of itself, as JSON, with a zero between them."""
    return b"\0".join(json.dumps(variant.manifest).encode() for variant in program.variants)


@dataclass(frozen=True, slots=True)
class _Job:
    """One run of the compiler over a program, in a directory of its own."""

    program: Program
    compiler: Toolchain
    work: Path
    cache: Cache
    bare: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def compile(
        self, progress: Progress | None, plain_sources: Mapping[str, str] | None = None
    ) -> list[Path]:
        """Write the model down and compile it with the run time, as many files at a time as there are cores.

        Only the model's own code may use all that its CPU has: the run time and `plain_sources` run anywhere.
        """
        target = self.program.target
        base = (*self.compiler.base_flags(target), f"-I{NATIVE}")
        if self.bare:
            base = (*base, f"-I{NATIVE / 'bare'}")
        if self.names:
            renames = self.work / "names.h"
            renames.write_text("".join(f"#define {old} {new}\n" for old, new in self.names.items()))
            base = (*base, "-include", str(renames))
        groups = [(v.sources, (*base, *self.compiler.cpu_flags(v.target))) for v in self.program.variants]
        jobs = []
        for sources, flags in (*groups, (plain_sources or {}, base)):
            for name, text in sources.items():
                (self.work / name).write_text(text)
            jobs += [(self.work / name, flags) for name in sources if name.endswith(".c")]
        jobs.sort(
            key=lambda job: -job[0].stat().st_size
        )  # the largest first, so that the last one to end is short
        jobs += [(NATIVE / name, base) for name in (*RUNTIME_SOURCES, *self.bare)]
        with ThreadPoolExecutor(_cores()) as threads:
            running = [threads.submit(self._compile_one, source, flags) for source, flags in jobs]
            running.append(threads.submit(self._take_in_blobs, base))
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

    def link(self, objects: Iterable[Path], flags: tuple[str, ...], name: str) -> Path:
        """Link `objects` to one file called `name`."""
        made = self.work / name
        return self._run([*map(str, objects), "-o", str(made), *flags], name, made)

    def archive(self, objects: Iterable[Path]) -> Path:
        """Put `objects` in one static library."""
        made = self.work / "model.a"
        return self._run(["rcsD", str(made), *map(str, objects)], made.name, made, self.compiler.archiver)

    def _compile_one(self, source: Path, flags: tuple[str, ...]) -> Path:
        made = self.work / f"{source.parent.name}-{source.stem}.o"  # the model may have a pool.c of its own
        return self._run([*flags, "-c", str(source), "-o", str(made)], source.name, made)

    def _take_in_blobs(self, flags: tuple[str, ...]) -> Path:
        """Make the object that holds the weights and the manifest."""
        manifest = manifest_bytes(self.program)
        weights = self.program.weights
        if self.program.target.os in ELF_SYSTEMS:
            blobs = {"pconv_weights": weights, "pconv_manifest_json": manifest}
            blobs = {self.names.get(name, name): blob for name, blob in blobs.items()}
            return write_data_object(self.work / "blobs.o", self.program.target.arch, blobs)
        files = {"WEIGHTS": self.work / "weights.bin", "MANIFEST": self.work / "manifest.json"}
        files["WEIGHTS"].write_bytes(weights)
        files["MANIFEST"].write_bytes(manifest)
        defines = (f'-DPCONV_{name}_FILE="{file}"' for name, file in files.items())
        return self._compile_one(NATIVE / "blobs.c", (*flags, *defines))

    def _run(self, arguments: list[str], name: str, made: Path, command: tuple[str, ...] = ()) -> Path:
        """Run the compiler (or `command`); return the file that it made."""
        command = command or self.compiler.command
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=self.work,
            env=toolchain.environment(self.cache.root / "zig", self.work / "zig"),
        )
        if done.returncode == 0 and made.is_file():
            return made
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = next(
            (line for line in lines if "error" in line.lower()), lines[0] if lines else "it said nothing"
        )
        if "No space left on device" in done.stderr:
            raise BuildError(
                f"{self.cache.root}: no space left on device. Free some, or name another directory in "
                "PCONV_CACHE."
            )
        raise BuildError(
            f"{name}: {' '.join(command)} failed (exit code {done.returncode}): {said}. The C "
            f"text is kept in {self._keep()}; try another compiler with PCONV_CC, or report this as a bug."
        )

    def _keep(self) -> Path:
        """Copy the C text to where it outlives this build."""
        kept = self.cache.root / "failed" / self.work.name
        shutil.copytree(self.work, kept, ignore=shutil.ignore_patterns("zig", "*.o", "*.bin"))
        return kept


def _cores() -> int:
    """Return how many compilers may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
