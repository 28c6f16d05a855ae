"""Files that appear whole or not at all, and never in the place of a directory or a device."""

import io
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pconv.errors import BuildError

PIECE = 256 << 10
"""Bytes of a file that are handled at a time: they stay in the cache, where 16 MiB made a copy five times slower."""
COMPILED_BEGINNINGS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"PCONVCL")
"""The first bytes of a compiled model: of ELF, of Mach-O, and of the file for OpenCL."""


def write_atomically(path: Path, source: BinaryIO | bytes, advice: str) -> Path:
    """Copy `source` to `path`: under another name first, then renamed over what stood there; links are followed.

    Folders that are missing on the way are made.

    Raises: BuildError with `advice` as its last sentence; nothing half-written is left behind.
    """
    place = destination(path, advice)
    part = _part(place)
    try:
        make_way(place)
        with part.open("xb") as target:
            shutil.copyfileobj(io.BytesIO(source) if isinstance(source, bytes) else source, target, PIECE)
        os.replace(part, place)
    except OSError as error:
        raise unwritable(path, error, advice) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def check_writable(path: Path, advice: str) -> None:
    """Check that a file or a folder can be written, before the work whose result it is to hold.

    Where folders are missing on the way, only that there can be some.

    Raises: BuildError as `write_atomically` does.
    """
    place = destination(path, advice)
    there = next(folder for folder in place.parents if folder.exists())
    part = _part(there / place.name)
    try:
        part.open("xb").close()
    except OSError as error:
        raise unwritable(path, error, advice) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_apart(path: Path, source: object, advice: str, what: str = "the model") -> None:
    """Check that a result would not replace what it is made from.

    Raises: BuildError with `advice` as its last sentence.
    """
    if not isinstance(source, str | os.PathLike) or not os.path.exists(source):
        return
    if path.exists() and path.samefile(source):
        raise BuildError(f"{path}: this is {what} itself, which it would replace. {advice}")


def destination(path: Path, advice: str) -> Path:
    """Return the file that `path` names, links followed: there to be replaced, or still to be made.

    Raises: BuildError with `advice` as its last sentence for a directory, a device or a pipe: a file renamed to it
    would take its place.
    """
    if path.exists() and not path.is_file():
        what = "it is a directory" if path.is_dir() else "it is no regular file"
        raise BuildError(f"{path}: cannot be written ({what}). {advice}")
    return Path(os.path.realpath(path))


def make_way(path: Path) -> None:
    """Make the folders that are missing on the way to a file.

    Raises: OSError.
    """
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)


def make_folder(path: Path, advice: str) -> Path:
    """Make a folder, and those above it, unless it is there.

    Raises: BuildError with `advice` as its last sentence.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, advice) from error
    return path


def unwritable(path: Path, error: OSError, advice: str) -> BuildError:
    """Return the error that says why `path` could not be written, and what to do."""
    return BuildError(f"{path}: cannot be written ({error.strerror or error}). {advice}")


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
