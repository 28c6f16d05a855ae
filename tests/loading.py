"""What an ELF library or executable says of its loading."""

import struct
from dataclasses import dataclass
from pathlib import Path

_LOAD, _DYNAMIC = 1, 2
_DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB = 1, 4, 5, 6
_SYMBOL_BYTES = 24


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
