"""An ELF object that holds data and nothing else.

Half a gigabyte of weights goes to disk once this way; an assembler's .incbin would read it, copy it in memory
and write it again, several seconds for each.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

Blob = bytes | bytearray | memoryview

_MACHINES = {"x86_64": 62, "aarch64": 183}
_NULL, _PROGBITS, _SYMTAB, _STRTAB = 0, 1, 2, 3
_ALLOC = 2
_GLOBAL_OBJECT, _HIDDEN = 0x11, 2
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


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN_BYTES) * _ALIGN_BYTES
