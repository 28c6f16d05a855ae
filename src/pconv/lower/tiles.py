"""Cut the blocks of an output into tiles.

block 14 x 14 vectors, tile 5 x 5         rows 5 5 4, columns 5 5 4: nine tiles of four shapes
"""

from pconv.lower.kernels import ConvKernel


def split(total: int, part: int, unit: int = 1) -> list[int]:
    """Split `total` into pieces of at most `part`, as even as possible, larger ones first, in whole units."""
    if unit > 1:
        return [unit * piece for piece in split(total // unit, max(1, part // unit))]
    count = -(-total // part)
    base, extra = divmod(total, count)
    return [base + 1] * extra + [base] * (count - extra)


def tiles(kernel: ConvKernel) -> list[tuple[int, int, int, int]]:
    """List the tiles of a layer as (y, x, rows, cols) in vectors."""
    found = []
    y = 0
    out, unit = kernel.computed, 2 if kernel.pool else 1
    for rows in split(out.block_h, kernel.tile[0], unit):
        x = 0
        for cols in split(out.block_w, kernel.tile[1], unit):
            found.append((y, x, rows, cols))
            x += cols
        y += rows
    return found
