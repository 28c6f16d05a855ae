"""What a signed file of macOS says of its own bytes: a hash of each page, which the system looks at as it loads them.

Linkers sign for arm64, where nothing unsigned runs; a file for Intel has no signature. Not covered: the signature's
own bytes besides the hashes.
"""

import hashlib
import struct

MAGIC = b"\xcf\xfa\xed\xfe"
_CODE_SIGNATURE = 0x1D
_CODE_DIRECTORY = 0xFADE0C02
_SHA256 = 2


def pages_are_whole(data: bytes) -> bool | None:
    """Tell whether every page of a Mach-O file has the hash that the file says; None where it says none."""
    try:
        place = _signature(data)
        if place is None:
            return None
        at, size = place
        directory = _directory(data, at)
        if directory is None:
            return None
        hashes, _, _, count, limit, hash_bytes, kind, _, page_log2 = struct.unpack_from(
            ">5I4B", data, directory + 16
        )
        if kind != _SHA256:
            return None
        page = 1 << page_log2
        starts = range(0, limit, page)
        said = [data[directory + hashes + i * hash_bytes :][:hash_bytes] for i in range(count)]
        found = [hashlib.sha256(data[start : min(start + page, limit)]).digest() for start in starts]
        return said == found and limit == at and at + size == len(data)
    except struct.error:  # cut off
        return False


def _signature(data: bytes) -> tuple[int, int] | None:
    """Return where the signature lies, and its size."""
    (commands,) = struct.unpack_from("<I", data, 16)
    at = 32
    for _ in range(commands):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == _CODE_SIGNATURE:
            start, length = struct.unpack_from("<II", data, at + 8)
            return start, length
        at += size
    return None


def _directory(data: bytes, at: int) -> int | None:
    """Return where the hashes' own header lies."""
    (count,) = struct.unpack_from(">I", data, at + 8)
    for i in range(count):
        _, offset = struct.unpack_from(">II", data, at + 12 + 8 * i)
        if struct.unpack_from(">I", data, at + offset)[0] == _CODE_DIRECTORY:
            return int(at + offset)
    return None
