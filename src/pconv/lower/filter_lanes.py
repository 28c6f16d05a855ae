"""Schedules whose lanes are filters: every lane counts, whatever the size of the image.

    lanes are blocks of the image      7x7 in 16 lanes: 4 vectors, 49 of 64 lanes have an output
    lanes are filters                  49 outputs x 32 filters: each lane has one

A weight vector is that of one tap for some whole registers of filters, one of input is a single element for all lanes.
Sums of some outputs stay in registers; then they are transposed, and what follows is as in any other convolution, in
the same layouts. Filters must share their kernels: those of dense layers do, and groups of as many as there are lanes.
Source: ours; libraries of dense kernels keep their activations so, too.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from pconv.lower.cost import FMA_LATENCY, footprint
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import LINE_BYTES
from pconv.lower.tiles import split, tiles
from pconv.targets import Target
from pconv.targets.dtype import FP32

MAX_VECTORS = 4
"""Registers of filters, each of which has a sum for every output of a tile."""
MAX_POSITIONS = 8
"""Outputs of a tile: each has a pointer of its own, in one of 16 registers."""
MAX_OUTPUTS = 0xFFFF
"""Outputs of a layer, which a table of 16 bits counts."""
CHUNK = 16
"""Vectors of output that a task has at most, in whole rows: their sums wait in L1 and L2."""
SPREAD = 0.5
"""How many times a weight's cost elsewhere an element of input has, which a multiply-add spreads itself."""
AGAIN = 2.5
"""How many times its cost elsewhere a line of weights from L2 has, where a group's leave L1 between two tiles."""
TRANSPOSE = 15.0
"""Cycles to put the sums of a vector of output aside and to transpose them, by layers timed on a Zen 4 core."""


def able(bare: ConvKernel, target: Target) -> bool:
    """Tell whether the lanes of a layer may be filters, if those share their kernels.

    A block that reaches below or beside the image, as a reader of few rows wants it, has vectors without any output.
    """
    out = bare.output
    plain = not (bare.pool or bare.points > 1 or bare.source.planar or out.block_w > CHUNK)
    plain = plain and out.images == 1 and out.block_h <= out.height and out.block_w <= out.width
    return plain and out.height * out.width <= MAX_OUTPUTS and target.filter_lanes and target.dtype == FP32


def candidates(bare: ConvKernel, target: Target) -> Iterator[ConvKernel]:
    """Give the tiles that fit the registers: some outputs, and some registers of filters for each."""
    out = bare.output
    rows = min(out.block_h, CHUNK // out.block_w)
    for vectors in range(1, MAX_VECTORS + 1):
        most = min(MAX_POSITIONS, (target.vector_registers - 2 - vectors) // vectors)
        group, tile = vectors * out.lanes, (split(out.block_h, rows)[0], out.block_w)
        yield replace(bare, group=group, positions=most, tile=tile, passes=len(bare.patterns[0]))


def pieces(kernel: ConvKernel) -> dict[int, int]:
    """Count the tiles of registers of a layer, for each group of filters, by their outputs."""
    found: Counter[int] = Counter()
    for y, _, rows, _ in tiles(kernel):
        found.update(split(outputs_of(kernel, y, rows), kernel.positions))
    return dict(found)


def outputs_of(kernel: ConvKernel, y: int, rows: int) -> int:
    """Count the outputs in some rows of vectors, surplus lanes left out: those of whole rows of the image."""
    out = kernel.output
    lines = sum(row * out.block_h + at < out.height for row in range(out.rows) for at in range(y, y + rows))
    return lines * min(out.width, out.cols * out.block_w)


def lanes_of(kernel: ConvKernel, y: int, x: int) -> list[bool]:
    """Tell for each lane of the vector at (y, x) whether it has an output."""
    out = kernel.output
    return [
        row * out.block_h + y < out.height and col * out.block_w + x < out.width
        for row in range(out.rows)
        for col in range(out.cols)
    ]


def terms(kernel: ConvKernel, target: Target, per_group: float, weights_bytes: float) -> dict[str, float]:
    """Estimate what the cycles of a group of filters consist of, over the whole image."""
    costs, vectors, taps = target.costs, kernel.group // kernel.output.lanes, len(kernel.patterns[0])
    lines = vectors * target.vector_bytes / LINE_BYTES
    rows, _ = footprint(kernel, (1, 1))
    near = weights_bytes <= target.l2_bytes / 2
    line = costs.l2_line * (AGAIN if per_group * taps * lines * LINE_BYTES > target.l1_bytes / 2 else 1.0)
    found = dict.fromkeys(("multiply-adds", "loads from L1", "input from beyond L1", "weights"), 0.0)
    for size, count in pieces(kernel).items():
        each = count * per_group
        found["multiply-adds"] += each * taps * max(size * vectors / target.fma_units, FMA_LATENCY)
        found["loads from L1"] += each * taps * (costs.load * vectors + SPREAD * costs.weight * size)
        found["input from beyond L1"] += each * costs.l2_line * rows
        found["weights"] += each * taps * line * lines
    if not near:  # once for each task, which may find them in L2 again
        found["weights"] += per_group * taps * lines * costs.far_weights
    return found


def cycles(kernel: ConvKernel, target: Target, kernels: int, filters: int, groups: int) -> float:
    """Estimate the cycles of a layer with so many kept kernels, and filters in so many groups."""
    costs, out = target.costs, kernel.output
    weights_bytes = float(target.dtype.elem_bytes * kernels * len(kernel.patterns[0]))
    parts = terms(kernel, target, kernels / filters, weights_bytes)
    fma = parts.pop("multiply-adds")
    both = fma**costs.overlap + sum(parts.values()) ** costs.overlap
    stored = out.block_h * out.block_w * kernel.group * (costs.store + TRANSPOSE)
    aside = sum(size * count for size, count in pieces(kernel).items()) * kernel.group / out.lanes
    return groups * (
        float(both ** (1 / costs.overlap))
        + stored
        + costs.put_aside * aside
        + len(tiles(kernel)) * costs.group
    )
