"""A model compiled for OpenCL as one file, which C reads as easily as Python (native/opencl.c).

    "PCONVCL2"                                     8 bytes
    sizes of the four parts, 64-bit little-endian  32 bytes
    manifest (JSON), launches, kernels (OpenCL C), constants; each ends with zeros to a multiple of 64
    the hash of all that (seal.py)                 a line

The launches repeat what the manifest says of them as lines of words, so that C needs no JSON:

    model ELEM_BYTES ARENA_ELEMS
    input|output ELEMS DIM...
    layer NAME
    launch KERNEL GLOBAL_X GLOBAL_Y LOCAL SHARED IN AT ADD AT OUT AT ARGUMENT...
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from pconv.errors import ArtefactError
from pconv.runtime.seal import LINE_BYTES

FORMAT = 2
MAGIC = b"PCONVCL2"
ALIGN = 64
_SIZES = struct.Struct("<4Q")
_AGAIN = "Compile the model again with this pconv."


@dataclass(frozen=True, slots=True, eq=False)
class OpenclFile:
    """What runs: `source` is OpenCL C, `constants` are the weights and tables."""

    manifest: dict[str, Any]
    source: str
    constants: bytes


def is_opencl_file(path: Path) -> bool:
    """Tell whether a file is one of these, of any version, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))[:-1] == MAGIC[:-1]
    except OSError:
        return False


def write_opencl_file(
    file: BinaryIO, manifest: dict[str, Any], source: str, constants: bytes | bytearray | memoryview
) -> None:
    """Write a compiled model, yet to be sealed; equal models give equal bytes."""
    parts = (json.dumps(manifest).encode(), _launch_lines(manifest).encode(), source.encode(), constants)
    file.write(MAGIC + _SIZES.pack(*map(len, parts)) + bytes(ALIGN - len(MAGIC) - _SIZES.size))
    for part in parts:
        file.write(part)
        # At least one zero: the texts are C strings where they lie.
        file.write(bytes(ALIGN - len(part) % ALIGN))


def read_opencl_file(path: Path) -> OpenclFile:
    """Read a compiled model.

    Raises: ArtefactError when the file cannot be read, is damaged, or is none of this version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}). Name a compiled model.") from error
    try:
        manifest, _, source, constants = _parts(data)
        said = json.loads(manifest)
        version = said["format"]
        found = OpenclFile(said, source.decode(), constants)
        said["opencl"]["launches"], said["inputs"], said["outputs"], said["target"]["features"]
    except (struct.error, KeyError, ValueError, TypeError) as error:
        raise ArtefactError(f"{path}: not a whole model compiled for OpenCL ({error}). {_AGAIN}") from error
    if version != FORMAT:
        raise ArtefactError(f"{path}: manifest format {version}, allowed {FORMAT}. {_AGAIN}")
    return found


def _parts(data: bytes) -> list[bytes]:
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("it is of another version")
    sizes = _SIZES.unpack_from(data, len(MAGIC))
    parts, at = [], ALIGN
    for size in sizes:
        parts.append(data[at : at + size])
        at += size + ALIGN - size % ALIGN
    if at + LINE_BYTES != len(data):
        raise ValueError(f"{len(data)} bytes instead of {at + LINE_BYTES}")
    return parts


def _launch_lines(manifest: Mapping[str, Any]) -> str:
    said = manifest["opencl"]
    lines: list[tuple[Any, ...]] = [("model", said["elem_bytes"], said["arena_elems"])]
    for kind in ("input", "output"):
        lines += [(kind, prod(t["shape"]), *t["shape"]) for t in manifest[f"{kind}s"]]
    for layer, launch in zip(manifest["layers"], said["launches"], strict=True):
        operands = (*launch["in"], *launch["add"], *launch["out"])
        sizes = (*launch["global"], launch["local"][0], int(launch["shared"]))
        lines.append(("layer", " ".join(layer["name"].split())))
        lines.append(("launch", launch["kernel"], *sizes, *operands, *launch["args"]))
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)
