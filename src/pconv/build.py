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
from dataclasses import dataclass
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

Progress = Callable[[str, int, int], None]


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
        if out is None:
            return packed
        with packed.open("rb") as file:
            return write_atomically(Path(out), file, "Name another place for the output.")
    compiler = toolchain.choose(cc, program.target)
    key = program_key(program, compiler)
    library = cache.find(key)
    if library is None:
        with cache.scratch() as work:
            job = _Job(program, compiler, work, cache)
            objects = job.compile(program.sources, progress)
            made = job.link(objects, compiler.library_flags(program.target), "model.so")
            library = cache.store(key, made)
    if out is None:
        return library
    with library.open("rb") as file:
        return write_atomically(Path(out), file, "Name another place for the output.")


def build_executable(
    program: Program,
    main_c: str,
    out: str | os.PathLike[str],
    *,
    cc: str | None = None,
    cache: Cache | None = None,
) -> Path:
    """Compile a program and a C `main` that includes "pconv.h" to one executable file.

    It needs the target's C library where it runs: under qemu, `-L` names a directory with one.

    Raises: BuildError as `build` does.
    """
    cache = cache or Cache()
    compiler = toolchain.choose(cc, program.target)
    with cache.scratch() as work:
        job = _Job(program, compiler, work, cache)
        objects = job.compile({**program.sources, "main.c": main_c}, None)
        made = job.link(objects, compiler.executable_flags(program.target), "main")
        with made.open("rb") as file:
            path = write_atomically(Path(out), file, "Name another place for the output.")
        path.chmod(0o755)
    return path


def program_key(program: Program, compiler: Toolchain) -> str:
    """Return the hash of everything that the library's bytes depend on."""
    digest = hashlib.sha256()
    flags = (compiler.base_flags, compiler.cpu_flags, compiler.library_flags)
    said = {
        "sources": program.sources,
        "runtime": {path.name: path.read_text() for path in NATIVE.glob("*.[ch]")},
        "manifest": program.manifest,
        "compiler": [compiler.version, *compiler.command[1:]],
        "flags": [flag(program.target) for flag in flags],
        "features": program.target.features,
    }
    digest.update(json.dumps(said, sort_keys=True).encode())
    digest.update(program.weights)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Job:
    """One run of the compiler over a program, in a directory of its own."""

    program: Program
    compiler: Toolchain
    work: Path
    cache: Cache

    def compile(self, sources: Mapping[str, str], progress: Progress | None) -> list[Path]:
        """Write `sources` and the run time down and compile them, as many at a time as there are cores."""
        for name, text in sources.items():
            (self.work / name).write_text(text)
        # The largest first, so that the last one to end is short.
        names = sorted((n for n in sources if n.endswith(".c")), key=lambda n: -len(sources[n]))
        target = self.program.target
        base = (*self.compiler.base_flags(target), f"-I{NATIVE}")
        tuned = (*base, *self.compiler.cpu_flags(target))
        plain = (*base, f'-DPCONV_FEATURES="{",".join(target.features)}"')
        jobs = [(self.work / name, tuned) for name in names]
        jobs += [(NATIVE / name, plain) for name in RUNTIME_SOURCES]
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
        self._run([*map(str, objects), "-o", str(made), *flags], name)
        return made

    def _compile_one(self, source: Path, flags: tuple[str, ...]) -> Path:
        made = self.work / f"{source.parent.name}-{source.stem}.o"  # the model may have a pool.c of its own
        self._run([*flags, "-c", str(source), "-o", str(made)], source.name)
        return made

    def _take_in_blobs(self, flags: tuple[str, ...]) -> Path:
        """Make the object that holds the weights and the manifest."""
        manifest = json.dumps(self.program.manifest).encode()
        weights = self.program.weights
        if self.program.target.os == "linux":
            blobs = {"pconv_weights": weights, "pconv_manifest_json": manifest}
            return write_data_object(self.work / "blobs.o", self.program.target.arch, blobs)
        files = {"WEIGHTS": self.work / "weights.bin", "MANIFEST": self.work / "manifest.json"}
        files["WEIGHTS"].write_bytes(weights)
        files["MANIFEST"].write_bytes(manifest)
        defines = (f'-DPCONV_{name}_FILE="{file}"' for name, file in files.items())
        return self._compile_one(NATIVE / "blobs.c", (*flags, *defines))

    def _run(self, arguments: list[str], name: str) -> None:
        done = subprocess.run(
            [*self.compiler.command, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=self.work,
            env=toolchain.environment(self.cache.root / "zig", self.work / "zig"),
        )
        if done.returncode == 0:
            return
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no message")
        if "No space left on device" in done.stderr:
            raise BuildError(
                f"{self.cache.root}: no space left on device. Free some, or name another directory in "
                "PCONV_CACHE."
            )
        raise BuildError(
            f"{name}: {' '.join(self.compiler.command)} failed (exit code {done.returncode}): {said}. The C "
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
