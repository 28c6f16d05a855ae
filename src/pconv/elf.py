"""ELF files: an object that holds data and nothing else, and what a library says of its loading.

Half a gigabyte of weights goes to disk once this way; an assembler's .incbin would read it, copy it in memory
and write it again, several seconds for each.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Blob = bytes | bytearray | memoryview

_MACHINES = {"x86_64": 62, "aarch64": 183}
_NULL, _PROGBITS, _SYMTAB, _STRTAB = 0, 1, 2, 3
_ALLOC = 2
_GLOBAL_OBJECT, _HIDDEN = 0x11, 2
_LOAD, _DYNAMIC = 1, 2
_DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB = 1, 4, 5, 6
_HEADER_BYTES, _SECTION_BYTES, _SYMBOL_BYTES = 64, 64, 24
_ALIGN_BYTES = 64
_PAD_BYTES = 256  # zeros behind each blob: a vector load may run into them


def write_data_object(path: Path, arch: str, blobs: Mapping[str, Blob]) -> Path:
    """Write an object file whose hidden symbols name the `blobs`, each 64-byte aligned."""
    strings = b"\0"
    symbols = bytes(_SYMBOL_BYTES)
    starts: list[int] = []
    data_bytes = 0
    for name, blob in blobs.items():
        starts.append(data_bytes)
        size = memoryview(blob).nbytes
        symbols += struct.pack("<IBBHQQ", len(strings), _GLOBAL_OBJECT, _HIDDEN, 1, data_bytes, size)
        strings += name.encode() + b"\0"
        data_bytes = _aligned(data_bytes + size + _PAD_BYTES)
    name_of = {}
    for section in (".rodata.pconv", ".symtab", ".strtab", ".note.GNU-stack"):
        name_of[section] = len(strings)
        strings += section.encode() + b"\0"

    data_at = _aligned(_HEADER_BYTES)
    symbols_at = data_at + data_bytes
    strings_at = symbols_at + len(symbols)
    sections_at = _aligned(strings_at + len(strings))
    sections = (  # name, type, flags, address, offset, size, link, info, alignment, size of an entry
        (0, _NULL, 0, 0, 0, 0, 0, 0, 0, 0),
        (name_of[".rodata.pconv"], _PROGBITS, _ALLOC, 0, data_at, data_bytes, 0, 0, _ALIGN_BYTES, 0),
        (name_of[".symtab"], _SYMTAB, 0, 0, symbols_at, len(symbols), 3, 1, 8, _SYMBOL_BYTES),
        (name_of[".strtab"], _STRTAB, 0, 0, strings_at, len(strings), 0, 0, 1, 0),
        (name_of[".note.GNU-stack"], _PROGBITS, 0, 0, strings_at, 0, 0, 0, 1, 0),
    )
    identity = b"\x7fELF\2\1\1" + bytes(9)
    shape = (_HEADER_BYTES, 0, 0, _SECTION_BYTES, len(sections), 3)
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 1, _MACHINES[arch], 1, 0, 0, sections_at, 0, *shape)
    with path.open("wb") as file:
        file.write(header)
        for start, blob in zip(starts, blobs.values(), strict=True):
            file.seek(data_at + start)
            file.write(blob)
        file.seek(symbols_at)
        file.write(symbols + strings)
        file.seek(sections_at)
        file.write(b"".join(struct.pack("<IIQQQQIIQQ", *section) for section in sections))
    return path


@dataclass(frozen=True, slots=True)
class Loading:
    """What a loader must do for a file: libraries it names, the alignment of its segments, symbols it looks for."""

    needed: tuple[str, ...]
    page_bytes: int
    undefined: tuple[str, ...]


def read_loading(path: Path) -> Loading:
    """Read the program headers and the dynamic section of a 64-bit ELF library or executable."""
    data = path.read_bytes()
    at, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    segments = [struct.unpack_from("<IIQQQQQQ", data, at + 56 * i) for i in range(count)]
    loaded = [s for s in segments if s[0] == _LOAD]
    # type, flags, offset, address, physical address, bytes in the file, bytes in memory, alignment
    if any((s[3] - s[2]) % s[7] for s in loaded):
        raise ValueError(f"{path}: a segment does not lie as it is aligned")
    dynamic = [s for s in segments if s[0] == _DYNAMIC]
    entries = [] if not dynamic else list(struct.iter_unpack("<QQ", data[dynamic[0][2] :][: dynamic[0][5]]))
    tables = dict(entries)

    def offset(address: int) -> int:
        segment = next(s for s in loaded if s[3] <= address < s[3] + s[5])
        return int(address - segment[3] + segment[2])

    def text(index: int) -> str:
        start = offset(tables[_DT_STRTAB]) + index
        return data[start : data.index(b"\0", start)].decode()

    undefined = []
    if _DT_SYMTAB in tables:
        first = offset(tables[_DT_SYMTAB])
        number = struct.unpack_from("<I", data, offset(tables[_DT_HASH]) + 4)[0]
        for name, _, _, section in struct.iter_unpack("<IBBH16x", data[first:][: number * _SYMBOL_BYTES]):
            if name and not section:
                undefined.append(text(name))
    needed = tuple(text(value) for tag, value in entries if tag == _DT_NEEDED)
    return Loading(needed, min((s[7] for s in loaded), default=0), tuple(undefined))


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN_BYTES) * _ALIGN_BYTES
