"""Is a file a whole shared library for this machine? Read from its header: the loader would crash, not say.

Owns ELF and Mach-O headers as far as loading needs them; refuses to look inside code or data.
"""

import platform
import struct
from typing import BinaryIO

from pconv.errors import ArtefactError
from pconv.runtime.seal import is_cut

_ELF_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 243: "riscv64"}
_MACHO_MACHINES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
_RECOMPILE = "Compile the model again for this machine."


def check_library(file: BinaryIO, path: str) -> None:
    """Check that an open file is a complete shared library for this system and architecture.

    Raises: ArtefactError when it is not.
    """
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    head = file.read(64)
    macho = platform.system() == "Darwin"
    try:
        if head[:4] == b"\x7fELF" and not macho:
            arch, end = _read_elf(file, head)
        elif head[:4] == b"\xcf\xfa\xed\xfe" and macho:
            arch, end = _read_macho(file, head)
        else:
            what = "an empty file" if not size else "not a shared library of this system"
            raise ArtefactError(
                f"{path}: {what}; allowed a compiled model for {platform.system()}. {_RECOMPILE}"
            )
    except (struct.error, ValueError, OSError):  # a place that no file has
        arch, end = "", size + 1
    file.seek(min(end, size))
    if end > size or is_cut(file.read(256)):
        raise ArtefactError(
            f"{path}: the file is cut off or damaged ({size} bytes). Copy or compile it again."
        )
    here = _ARCHES.get(platform.machine().lower(), platform.machine().lower())
    if arch != here:
        raise ArtefactError(f"{path}: compiled for {arch}, this machine is {here}. {_RECOMPILE}")


def _read_elf(file: BinaryIO, head: bytes) -> tuple[str, int]:
    """Return the architecture, and the byte up to which headers, segments and sections reach."""
    kind, machine, _, _, segments_at, sections_at = struct.unpack_from("<HHIQQQ", head, 16)
    segment_bytes, segments, section_bytes, sections = struct.unpack_from("<HHHH", head, 54)
    arch = _ELF_MACHINES.get(machine, f"ELF machine {machine}")
    if head[4:6] != b"\2\1" or kind != 3:
        return f"{arch}, but not as a 64-bit shared library", 0
    ends = [sections_at + sections * section_bytes]
    file.seek(segments_at)
    for _ in range(segments):
        _, _, at, _, _, length = struct.unpack_from("<IIQQQQ", file.read(segment_bytes))
        ends.append(at + length)
    return arch, max(ends)


def _read_macho(file: BinaryIO, head: bytes) -> tuple[str, int]:
    machine, _, _, commands, _, _ = struct.unpack_from("<6I", head, 4)
    end, at = 0, 32
    for _ in range(commands):
        file.seek(at)
        command, command_bytes = struct.unpack("<II", file.read(8))
        if command == 0x19:  # LC_SEGMENT_64
            offset, length = struct.unpack("<QQ", file.read(48)[32:])
            end = max(end, offset + length)
        at += command_bytes
    return _MACHO_MACHINES.get(machine, f"Mach-O machine {machine:#x}"), end
