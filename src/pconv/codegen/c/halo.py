"""What keeps a blocks layout true after a store: surplus lanes masked to zero, borders copied to the halo.

A convolution's tile does it itself, knowing its own shape; where whole planes are written, a function follows.

vector (0, x) of block row b is also the bottom halo of block row b-1: the same values one block up, which is a
shuffle of lanes by one row of the grid; lanes that would come from outside the image become zero.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from pconv.codegen.c.prelude import ctype
from pconv.lower.layout import Layout

Value = Callable[[int, int], str]


def masks(layout: Layout, prefix: str = "") -> str:
    """Return the lane masks of rows and columns, where the last blocks reach past the image."""
    lane = np.arange(layout.lanes)
    text = ""
    if layout.partial_rows:
        y = (lane // layout.cols % layout.rows * layout.block_h)[None, :] + np.arange(layout.block_h)[:, None]
        text += f"static const vi {prefix}ROW_MASK[{layout.block_h}] = {_vectors(y < layout.height)};\n"
    if layout.partial_cols:
        x = (lane % layout.cols * layout.block_w)[None, :] + np.arange(layout.block_w)[:, None]
        text += f"static const vi {prefix}COL_MASK[{layout.block_w}] = {_vectors(x < layout.width)};\n"
    return text


def apply_mask(layout: Layout, variable: str, y: str, x: str) -> str:
    """Return the statement that zeroes the surplus lanes of the vector at (y, x); empty where there are none."""
    parts = []
    if layout.partial_rows:
        parts.append(f"ROW_MASK[{y}]")
    if layout.partial_cols:
        parts.append(f"COL_MASK[{x}]")
    return f"{variable} = (vf)((vi){variable} & {' & '.join(parts)});" if parts else ""


def has_halo(layout: Layout) -> bool:
    """Tell whether a layout has any halo."""
    return bool(layout.top or layout.left or layout.bottom or layout.right)


def halo(layout: Layout) -> str:
    """Return `fill_halo(o)`: copy what a stored plane owes to its halo; `o` is at vector (0, 0)."""
    if not has_halo(layout):
        return ""
    body = []
    for by in _shifts(layout.top, layout.block_h, layout.bottom):
        for bx in _shifts(layout.left, layout.block_w, layout.right):
            if by or bx:
                body.append(_copy(layout, by, bx))
    return f"static void fill_halo({ctype(layout.dtype)} *o) {{\n" + "".join(body) + "}\n"


def _shifts(before: int, block: int, after: int) -> range:
    """List by how many blocks the halo reaches, on both sides."""
    return range(-before // block, -(-after // block) + 1)


def _copy(layout: Layout, by: int, bx: int) -> str:
    """Copy the part of a plane that is halo for the block (by, bx) away.

    A vector at (y, x) becomes (y + by * block_h, x + bx * block_w), with lane (r, c) taken from (r + by, c + bx) of the
    same image.
    """
    ylo, yhi = _span(by, layout.top, layout.block_h, layout.bottom)
    xlo, xhi = _span(bx, layout.left, layout.block_w, layout.right)
    if ylo >= yhi or xlo >= xhi:
        return ""
    return (
        f"    for (int y = {ylo}; y < {yhi}; y++)\n"
        f"        for (int x = {xlo}; x < {xhi}; x++) {{\n"
        f"            {ctype(layout.dtype)} *p = o + (y * {layout.row_vectors} + x) * LANES;\n"
        f"            {_moved(layout, by, bx, 'p', 'LD(p)')}\n"
        "        }\n"
    )


def _moved(layout: Layout, by: int, bx: int, place: str, value: str) -> str:
    """Return the statement that puts a vector, stored at `place`, where the block (by, bx) away needs it."""
    picks = []
    for lane in range(layout.lanes):
        row, col = lane // layout.cols % layout.rows + by, lane % layout.cols + bx
        inside = 0 <= row < layout.rows and 0 <= col < layout.cols
        picks.append(lane + by * layout.cols + bx if inside else layout.lanes)
    shift = layout.vector(by * layout.block_h, bx * layout.block_w)
    chosen = f"__builtin_shufflevector({value}, (vf){{0}}, {', '.join(map(str, picks))})"
    return f"ST({place} + ({shift}) * LANES, {chosen});"


def tile_halo(
    layout: Layout, shape: tuple[int, int], places: Sequence[tuple[int, int]], tile: str, value: Value
) -> list[str]:
    """Return what a tile of `shape` vectors, stored at the pointer `tile`, owes to the halo.

    `places` are all (y0, x0) where such a tile lies; `value` names the vector that was stored at (row, column).
    """
    found: dict[str, list[str]] = {}
    for by in _shifts(layout.top, layout.block_h, layout.bottom):
        down = _span(by, layout.top, layout.block_h, layout.bottom)
        for bx in _shifts(layout.left, layout.block_w, layout.right):
            across = _span(bx, layout.left, layout.block_w, layout.right)
            for r, c in product(range(shape[0]), range(shape[1])) if by or bx else ():
                near_y = _within("y0", r, {y for y, _ in places}, down)
                near_x = _within("x0", c, {x for _, x in places}, across)
                if near_y is not None and near_x is not None:
                    near = " && ".join(filter(None, (near_y, near_x)))
                    place = f"{tile} + {layout.vector(r, c) * layout.lanes}"
                    found.setdefault(near, []).append(_moved(layout, by, bx, place, value(r, c)))
    lines = []
    for near, moves in found.items():
        lines += [f"if ({near}) {{", *(f"    {move}" for move in moves), "}"] if near else moves
    return lines


def _within(start: str, step: int, starts: set[int], span: tuple[int, int]) -> str | None:
    """Return when `start` + `step` lies in a span: "" where it does for all `starts`, None where for none."""
    inside = {value for value in starts if span[0] <= value + step < span[1]}
    if not inside or inside == starts:
        return "" if inside else None
    if len(inside) == 1:
        return f"{start} == {min(inside)}"
    return f"{start} >= {min(inside)} && {start} <= {max(inside)}"


def _span(shift: int, before: int, block: int, after: int) -> tuple[int, int]:
    """Give the rows (columns) of a block that land in the halo when shifted by whole blocks."""
    return max(0, -before - shift * block), min(block, block + after - shift * block)


def _vectors(bits: np.ndarray) -> str:
    rows = ["{" + ", ".join("-1" if b else "0" for b in row) + "}" for row in bits]
    return "{" + ", ".join(rows) + "}"
