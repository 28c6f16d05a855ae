"""LRE, load redundancy elimination: one load of an input vector serves every tap and tile position that needs it.

    taps N, C of a 2x1 tile                  plain: 4 loads                   here: 3 loads
    acc0 needs (-1,0) and (0,0)              ld(-1) ld(0)  ->  acc0           ld(-1) -> acc0.N
    acc1 needs  (0,0) and (1,0)              ld(0)  ld(1)  ->  acc1           ld(0)  -> acc0.C, acc1.N
                                                                              ld(1)  -> acc1.C
Source: PCONV section on load redundancy elimination (kernel level).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pconv.lower.kernels import ConvKernel

MULTIPLE = 4
"""Neighbours that a load of AArch64 fills registers with at most, if these are neighbours too."""


@dataclass(frozen=True, slots=True)
class Load:
    """One input vector, `offset` vectors from the tile's origin, and the (position, tap) pairs it serves."""

    offset: int
    uses: tuple[tuple[int, int], ...]


def tap_offset(kernel: ConvKernel, ky: int, kx: int) -> int:
    """Give the vector offset of a tap relative to the input position of an output."""
    y = ky * kernel.dilation[0] - kernel.pads[0]
    x = kx * kernel.dilation[1] - kernel.pads[1]
    return kernel.source.vector(y, x)


def load_program(kernel: ConvKernel, taps: Sequence[int], pattern: int, tile: tuple[int, int]) -> list[Load]:
    """Give the loads, in address order, for the numbered taps of a pattern over a tile of vectors."""
    uses: dict[int, list[tuple[int, int]]] = {}
    for row in range(tile[0]):
        for col in range(tile[1]):
            origin = kernel.source.vector(row * kernel.stride[0], col * kernel.stride[1])
            for tap in taps:
                offset = origin + tap_offset(kernel, *kernel.patterns[pattern][tap])
                uses.setdefault(offset, []).append((row * tile[1] + col, tap))
    return [Load(offset, tuple(uses[offset])) for offset in sorted(uses)]


def load_pieces(offsets: Sequence[int], widest: int) -> list[int]:
    """Cut ascending offsets into loads of neighbours, up to `widest` at a time. Returns: how many each load brings.

    A load of three or four takes its pointer along and reaches nothing else: each stretch but the first needs an
    instruction more to get there, and so has such loads only where that pays.
    """
    pieces: list[int] = []
    for start, stop in _stretches(offsets):
        length = stop - start
        wide = widest if -(-length // widest) + (start > 0) < -(-length // min(widest, 2)) else min(widest, 2)
        pieces += [wide] * (length // wide) + [length % wide] * (length % wide > 0)
    return pieces


def load_count(offsets: Sequence[int], widest: int) -> int:
    """Count the instructions that load so."""
    count = 0
    for start, stop in _stretches(offsets):
        length = stop - start
        count += min(-(-length // widest) + (start > 0), -(-length // min(widest, 2)))
    return count


def _stretches(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Find where neighbours follow each other: from where, up to where."""
    edges = [0, *(i for i in range(1, len(offsets)) if offsets[i] != offsets[i - 1] + 1), len(offsets)]
    return list(pairwise(edges))


def cut_taps(taps: int, passes: int) -> list[range]:
    """Cut the taps of a pattern into runs, as even as possible."""
    edges = [taps * i // passes for i in range(passes + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
