"""A model compiled for OpenCL as one file: an uncompressed zip of its manifest, its kernels and its constants."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pconv.errors import ArtefactError

FORMAT = 1
SUFFIX = ".pcl"
_DATE = (1980, 1, 1, 0, 0, 0)
_AGAIN = "Compile the model again with this pconv."


@dataclass(frozen=True, slots=True, eq=False)
class OpenclFile:
    """What runs: `source` is OpenCL C, `constants` are the weights and tables."""

    manifest: dict[str, Any]
    source: str
    constants: bytes


def is_opencl_file(path: Path) -> bool:
    """Tell whether a file may be one of these, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False


def write_opencl_file(
    file: BinaryIO, manifest: dict[str, Any], source: str, constants: bytes | bytearray | memoryview
) -> None:
    """Write a compiled model; equal models give equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as bundle:
        for name, data in (
            ("manifest.json", json.dumps(manifest, indent=1).encode()),
            ("model.cl", source.encode()),
            ("constants.bin", constants),
        ):
            with bundle.open(zipfile.ZipInfo(name, _DATE), "w", force_zip64=True) as entry:
                entry.write(data)


def read_opencl_file(path: Path) -> OpenclFile:
    """Read a compiled model.

    Raises: ArtefactError when the file cannot be read, is damaged, or is none of this version.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            manifest = json.loads(bundle.read("manifest.json"))
            version = manifest["format"], manifest["opencl"]["launches"][:0]
            source, constants = bundle.read("model.cl").decode(), bundle.read("constants.bin")
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}). Name a compiled model.") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
        raise ArtefactError(
            f"{path}: not a whole model compiled for OpenCL ({type(error).__name__}: {error}). {_AGAIN}"
        ) from error
    if version[0] != FORMAT:
        raise ArtefactError(f"{path}: manifest format {version[0]}, allowed {FORMAT}. {_AGAIN}")
    return OpenclFile(manifest, source, constants)
