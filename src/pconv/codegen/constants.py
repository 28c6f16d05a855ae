"""The constants of a program as one blob."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

ALIGN = 64


def pack_constants(
    constants: Sequence[Mapping[str, NDArray[Any]]],
) -> tuple[bytearray, list[dict[str, int]]]:
    """Lay the constants of all steps out, 64-byte aligned; what is equal is stored once.

    Behind the last there is room: fetching ahead reads a list's entries past the end, though not what it points to.

    Returns: the bytes, and for each step the offset of each constant by its name.
    """
    places: list[dict[str, int]] = []
    seen: dict[bytes, int] = {}
    end = 0
    for step in constants:
        places.append({})
        for name, array in step.items():
            data = array.tobytes()
            if data not in seen:
                seen[data] = end
                end += -(-len(data) // ALIGN) * ALIGN
            places[-1][name] = seen[data]
    blob = bytearray(end + ALIGN)
    for data, offset in seen.items():
        blob[offset : offset + len(data)] = data
    return blob, places
