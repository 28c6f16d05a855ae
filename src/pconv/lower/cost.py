"""The cost model: cycles of one micro-kernel over one layer. Decides tiles, groups, and sparse against dense.

A kernel's time is its multiply-adds at the FMA rate (or their latency, when a tile is too small to hide it), plus what
its loads add: a vector that hits L1 and a line that comes from L2 each cost a fraction of a cycle that the multiply-adds
do not hide. Source: ours, fitted to measurements (docs/kernels.md); the fractions were measured on x86-64-v4 and are
taken over for the others.
"""

from pconv.lower.kernels import ConvKernel, Taps
from pconv.lower.loads import cut_taps
from pconv.targets import Target

FMA_LATENCY = 4.0
L1_LOAD = 0.3
L2_LINE = 0.35
LOOP = 2.0
RUN = 6.0
STORE = 2.0
GROUP = 30.0
SAMPLED_PATTERNS = 4


def registers_needed(taps: int, passes: int, group: int, vectors: int) -> int:
    """Count vector registers that a tile keeps live: accumulators, a pass's weights, one input."""
    return group * (vectors + -(-taps // passes)) + 1


def kernel_cycles(kernel: ConvKernel, tile: tuple[int, int], target: Target, channels: int) -> float:
    """Estimate the cycles of one kept kernel (of a whole group of filters) on one tile of vectors."""
    taps = len(kernel.patterns[0])
    vectors = tile[0] * tile[1]
    fma = max(kernel.group * vectors * taps / target.fma_units, FMA_LATENCY * taps)
    sample = kernel.patterns[:SAMPLED_PATTERNS]
    loads = sum(_loads(kernel, p, tile, kernel.passes) for p in sample) / len(sample) + taps * kernel.group
    lines = sum(_loads(kernel, p, tile, 1) for p in sample) / len(sample) * target.vector_bytes / 64
    in_l1 = channels * lines * 64 <= 0.7 * target.l1_bytes
    return fma + L1_LOAD * loads + (0.0 if in_l1 else L2_LINE * lines) + LOOP


def group_cycles(kernel: ConvKernel, tile: tuple[int, int]) -> float:
    """Estimate what a group of filters costs on one tile besides its kernels: runs, start, epilogue."""
    return RUN * len(kernel.patterns) + STORE * kernel.group * tile[0] * tile[1] + GROUP


def _loads(kernel: ConvKernel, pattern: Taps, tile: tuple[int, int], passes: int) -> int:
    """Count distinct input vectors; see `loads.load_program` for the same walk with its uses."""
    (sy, sx), (dy, dx) = kernel.stride, kernel.dilation
    places = [(r * sy, c * sx) for r in range(tile[0]) for c in range(tile[1])]
    total = 0
    for run in cut_taps(len(pattern), passes):
        total += len({(r + pattern[t][0] * dy, c + pattern[t][1] * dx) for r, c in places for t in run})
    return total
