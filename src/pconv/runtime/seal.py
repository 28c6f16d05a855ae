"""The last line of a compiled model's file: the hash of all bytes before it. Loaders read no further than they need.

A file for macOS has none, because what follows its end would not pass Apple's signing; its own signature serves.
Loading does not look at it: hashing takes several times as long as mapping the file. `pconv verify` does.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

from pconv.errors import ArtefactError
from pconv.runtime import mach_pages

_WORD = b"\npconv sha256 "
LINE_BYTES = len(_WORD) + 64 + 1
_PIECE = 1 << 20


def seal(path: Path) -> None:
    """Append the line to a file."""
    with path.open("r+b") as file:
        line = _line(file, path.stat().st_size)
        file.seek(0, 2)
        file.write(line)


def is_whole(path: Path) -> bool | None:
    """Tell whether a file's bytes are those that were sealed, or signed; None where it is neither.

    Raises: ArtefactError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(mach_pages.MAGIC)) == mach_pages.MAGIC:
                file.seek(0)
                return mach_pages.pages_are_whole(file.read())
            size = file.seek(0, 2)
            file.seek(max(0, size - LINE_BYTES))
            said = file.read()
            return said == _line(file, size - LINE_BYTES) if said.startswith(_WORD) else None
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be read ({error.strerror}). Name a compiled model's file."
        ) from error


def ends_sealed(path: Path) -> bool:
    """Tell from its last bytes alone whether a file has its line; of one for macOS nothing is told: it passes."""
    try:
        with path.open("rb") as file:
            if file.read(len(mach_pages.MAGIC)) == mach_pages.MAGIC:
                return True
            size = file.seek(0, 2)
            file.seek(max(0, size - LINE_BYTES))
            return file.read().startswith(_WORD)
    except OSError:
        return False


def is_cut(tail: bytes) -> bool:
    """Tell whether what follows a library in its file is a line that does not end."""
    return 0 < len(tail) < LINE_BYTES and _WORD.startswith(tail[: len(_WORD)])


def _line(file: BinaryIO, size: int) -> bytes:
    """Return the line for the first `size` bytes of a file."""
    digest, left = hashlib.sha256(), size
    file.seek(0)
    while left and (piece := file.read(min(left, _PIECE))):
        digest.update(piece)
        left -= len(piece)
    return _WORD + digest.hexdigest().encode() + b"\n"
