"""Write the folder: libraries from the build, C text from the program, the rest from templates."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pconv import targets
from pconv.build import NATIVE, RUNTIME_SOURCES, build, compiled
from pconv.codegen.program import Program, Variant, manifest_lines
from pconv.deploy import names
from pconv.errors import BuildError
from pconv.files import make_way, unwritable
from pconv.gpu_bench import build_gpu_bench
from pconv.progress import Progress
from pconv.targets.platforms import Platform, platform_of
from pconv.toolchain import COMMON_FLAGS

TEMPLATES = Path(__file__).parent / "templates"
GPU_SOURCES = ("opencl.h", "opencl.c", "opencl_api.h", "opencl_half.h", "auto.h", "auto.c", "bench_gpu.c")
_SUFFIX = {"linux": ".so", "android": ".so", "macos": ".dylib"}
_MARK = ".pconv-export"
"""The file that tells an export: it lists what was written."""
_BLOCK = re.compile(r"^@ONLY ([a-z ]+)@\n(.*?)^@END@\n", re.DOTALL | re.MULTILINE)
_ADVICE = "Name another folder with -o."


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, the model's name in C, its platform, and the files, relative to the folder."""

    folder: Path
    name: str
    platform: str
    files: tuple[Path, ...]


def write_folder(
    program: Program,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    gpu: Program | None = None,
    cc: str | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a program as a folder that an app's developer drops in; all of it, or nothing.

    `name` is the model's in C (default: its own), `gpu` the same model for OpenCL. A folder that an export wrote, and
    nobody else, is replaced.

    Raises: BuildError when there is no such platform for apps, or OpenCL on it, the compiler fails, or the folder
    cannot be written or holds something else.
    """
    target = program.target
    platform = platform_of(target.os, target.arch)
    if platform is None:
        raise BuildError(f"target {target.name}: it cannot be exported; allowed CPUs, e.g. android-arm64.")
    if gpu is not None and gpu.target.arch != "opencl":
        raise BuildError(
            f"GPU {gpu.target.name!r}: no target for one; allowed {', '.join(targets.devices())}."
        )
    if gpu is not None and target.os not in _SUFFIX:
        raise BuildError(
            f"target {platform.name}: apps there have no OpenCL; export it without a GPU's model."
        )
    prefix = names.identifier(name or str(program.manifest["model"]["name"]))
    with _replacing(Path(out)) as draft:
        binaries = _write_binaries(program, prefix, platform.name, draft, cc, progress)
        _write_sources(program, prefix, draft / "src")
        _write_manifests(program, draft / "manifest")
        if gpu is not None:
            binaries += _write_gpu(gpu, platform, prefix, draft, cc)
        values = _values(program, prefix, platform, binaries)
        _write_templates(values | {"GPU": gpu.target.name if gpu else ""}, draft)
        (draft / _MARK).touch()
        files = _files(draft)
        (draft / _MARK).write_text("".join(f"{file.as_posix()}\n" for file in files))
    return Exported(Path(out), prefix, platform.name, files)


def _write_binaries(
    program: Program, name: str, platform: str, folder: Path, cc: str | None, progress: Progress | None
) -> list[str]:
    library, bench = Path("lib", platform, f"lib{name}.a"), Path("bin", platform, "pconv_bench")
    (folder / library).parent.mkdir(parents=True)
    made = [library]
    with compiled(program, names.renames(program, name), cc=cc, progress=progress) as objects:
        objects.static(folder / library, names.interface(name))
        if program.target.os in _SUFFIX:
            shared = library.with_suffix(_SUFFIX[program.target.os])
            objects.shared(folder / shared)
            (folder / bench).parent.mkdir(parents=True)
            objects.bench(folder / bench)
            made += [shared, bench]
    return [str(path) for path in made]


def _write_sources(program: Program, name: str, folder: Path) -> None:
    folder.mkdir()
    for file, text in program.files.items():
        (folder / file).write_text(text)
    for file in (*RUNTIME_SOURCES, "model.h", "pool.h", "sharing.h", "weights.c", "bench.h", "bench.c"):
        shutil.copyfile(NATIVE / file, folder / file)
    for file, new in (("names.h", names.renames(program, name)), ("static_names.h", names.interface(name))):
        (folder / file).write_text("".join(f"#define {old} {new[old]}\n" for old in new))
    (folder / "weights.bin").write_bytes(program.weights)


def _write_manifests(program: Program, folder: Path) -> None:
    folder.mkdir()
    for variant in program.variants:
        text = "\n".join(manifest_lines(variant.manifest))
        (folder / f"{variant.target.name}.json").write_text(f"{text}\n")


def _write_gpu(program: Program, platform: Platform, name: str, folder: Path, cc: str | None) -> list[str]:
    """Write a GPU's model, what runs it from C, and what times it."""
    model, bench = Path("gpu", f"{name}.pcl"), Path("bin", platform.name, "pconv_gpu_bench")
    (folder / model).parent.mkdir()
    build(program, out=folder / model)
    build_gpu_bench(targets.get(platform.name), folder / bench, cc=cc)
    for file in GPU_SOURCES:
        shutil.copyfile(NATIVE / file, folder / "gpu" / file)
    return [str(model), str(bench)]


def _write_templates(values: dict[str, str], folder: Path) -> None:
    (folder / "include").mkdir()
    shutil.copyfile(NATIVE / "pconv.h", folder / "include" / "pconv.h")
    for template in sorted(TEMPLATES.rglob("*")):
        if template.is_file() and (values["GPU"] or template.parent.name != "gpu"):
            place = folder / _fill(str(template.relative_to(TEMPLATES)), values)
            place.parent.mkdir(exist_ok=True)
            place.write_text(_fill(template.read_text(), values))


def _values(program: Program, name: str, platform: Platform, binaries: Sequence[str]) -> dict[str, str]:
    """Return what stands for each @PLACE@ of the templates."""
    manifest, several = program.manifest, [variant.target for variant in program.variants]
    layers = manifest["layers"]
    return {
        "NAME": name,
        "UPPER": name.upper(),
        "CLASS": names.class_name(name),
        "MODEL": str(manifest["model"]["name"])
        .replace("*/", "* /")
        .replace("/*", "/ *"),  # it stands in comments
        "PLATFORM": platform.name,
        "OS": program.target.os,
        "THREADS": " -lpthread" if program.target.os == "linux" else "",
        "ABI": platform.android_abi,
        "CPU": ", else ".join(f"{t.name} on {t.cpu}" if t.cpu else t.name for t in several),
        "VERSION": str(manifest.get("pconv", "")),
        "FUNCTIONS": names.declarations(name),
        "FEATURES": ", ".join(several[-1].features),
        "COMMON_FLAGS": " ".join(f for f in COMMON_FLAGS if f not in ("-fPIC", "-g0", "-std=gnu11")),
        "SOURCES": "\n".join(map(_cmake_sources, program.variants)),
        "RUNTIME": "\n    ".join(f"src/{file}" for file in RUNTIME_SOURCES),
        "INPUT_ELEMS": _elems(manifest["inputs"]),
        "OUTPUT_ELEMS": _elems(manifest["outputs"]),
        "TENSORS": "\n".join(
            f"| {kind} {i} | `{t['name']}` | {'x'.join(map(str, t['shape']))} | {_type(t)} |"
            for kind, tensors in (("input", manifest["inputs"]), ("output", manifest["outputs"]))
            for i, t in enumerate(tensors)
        ),
        "LAYERS": str(len(layers)),
        "MACS": f"{sum(layer['macs'] for layer in layers) / 1e6:.1f}",
        "DENSE_MACS": f"{sum(layer['dense_macs'] for layer in layers) / 1e6:.1f}",
        "BINARIES": "\n".join(f"- `{path}`" for path in binaries),
    }


def _type(tensor: Mapping[str, Any]) -> str:
    """Say what a tensor's memory holds, and what its numbers are where they are no floats."""
    dtype = str(tensor["dtype"])
    values = tensor.get("values", dtype)
    return dtype if values == dtype else f"{dtype}: whole numbers ({values})"


def _cmake_sources(variant: Variant) -> str:
    files = (f"\n    src/{file}" for file in sorted(variant.sources) if file.endswith(".c"))
    return f'model_sources("{" ".join(variant.target.cflags)}"{"".join(files)})'


def _elems(tensors: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(prod(tensor["shape"])) for tensor in tensors)


def _fill(text: str, values: dict[str, str]) -> str:
    """Put values in their places, and leave out the blocks that are for other systems only."""
    text = _BLOCK.sub(lambda block: block[2] if values["OS"] in block[1].split() else "", text)
    for place, value in values.items():
        text = text.replace(f"@{place}@", value)
    return text


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()))


def _check_ours(out: Path) -> None:
    """Check that what would be replaced was written by an export, all of it.

    Raises: BuildError.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / _MARK).is_file():
        raise BuildError(
            f"{out}: it is there already and no export wrote it; allowed a new folder or an export's. {_ADVICE}"
        )
    written = set((out / _MARK).read_text().splitlines())
    if others := [file.as_posix() for file in _files(out) if file.as_posix() not in written]:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise BuildError(
            f"{out}: it holds {others[0]}{more}, which no export wrote, and is replaced whole. Move that away, or name "
            "another folder with -o."
        )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a draft folder beside `out`, which takes its place when the block ends well."""
    place = out.resolve()
    if Path.cwd().is_relative_to(place):
        raise BuildError(
            f"{out}: it is or holds the current folder, and an export replaces it whole. {_ADVICE}"
        )
    _check_ours(out)
    suffix = secrets.token_hex(4)
    draft, old = (place.with_name(f".{place.name}.{suffix}.{kind}") for kind in ("part", "old"))
    try:
        make_way(place)
        draft.mkdir()
        yield draft
        if place.exists():
            place.rename(old)
        draft.rename(place)
    except OSError as error:
        raise unwritable(out, error, _ADVICE) from error
    except BuildError as error:
        raise BuildError(str(error).replace(str(draft), str(out))) from error
    finally:
        if old.exists() and not place.exists():  # stopped between the two
            old.rename(place)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
