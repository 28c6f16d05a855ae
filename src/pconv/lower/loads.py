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


def cut_taps(taps: int, passes: int) -> list[range]:
    """Cut the taps of a pattern into runs, as even as possible."""
    edges = [taps * i // passes for i in range(passes + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
