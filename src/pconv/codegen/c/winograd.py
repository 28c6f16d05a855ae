"""Winograd's transforms: tiles of a plane to points and back, in sums of whole vectors.

Columns first, then rows; the sums of both directions are those of a small matrix, in which neighbouring rows (or
columns) often differ in signs alone and share their parts. On AArch64, whose registers nearly hold a tile, there are
no loops, and the factors lie side by side in registers.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pconv.codegen.c.activation import apply_vector
from pconv.codegen.c.halo import apply_mask, halo, masks, tile_halo
from pconv.codegen.c.planes import fill, walk
from pconv.codegen.c.prelude import ctype, needs_exp, number, table
from pconv.lower.kernels import WinogradInputKernel, WinogradOutputKernel, WinogradWeightsKernel
from pconv.lower.layout import Layout
from pconv.lower.winograd import Winograd, kept_points, point_lists, transforms

Matrix = NDArray[np.float64]

_HOLD = """\
#if defined(__aarch64__)
#define HOLD(v) __asm__("" : "+w"(v)) /* in a register: else each lane becomes a constant of its own */
#else
#define HOLD(v) (void)0
#endif
"""


def render_weights(kernel: WinogradWeightsKernel) -> str:
    """Return the C file of the transform of weights: vector `c` of kernels side by side.

    Where points have lists of their own, each weight goes to its places in them: see `point_lists`.
    """
    down, across = (one.weights for one in transforms(kernel.size, kernel.taps))
    whole, points, wide = len(kernel.patterns) == 1, len(down) * len(across), kernel.taps
    t = ctype(kernel.dtype)
    taps = [[y * wide + x for y, x in pattern] for pattern in kernel.patterns]
    loads = "\n".join(f"        k[{tap}] = LD(w + {t} * count);" for t, tap in enumerate(taps[0]))
    spread = f"""\
        for (int i = 0; i < LANES; i++) {{
            const uint8_t *tap = TAPS[a->shape[c * LANES + i]];
            for (int t = 0; t < {len(taps[0])}; t++) k[tap[t]][i] = w[t * count + i];
        }}"""
    target, helpers, before, after = (
        "out + (size_t)c * LANES",
        "" if whole else table("uint8_t", "TAPS", taps),
        "",
        "",
    )
    step = "count"
    if kernel.skips:
        kept = kept_points(kernel.size, kernel.patterns, kernel.taps)
        _, numbers = point_lists(kernel.size, kernel.patterns, kernel.taps)
        target, step = "of_points", "LANES"
        helpers += table("uint8_t", "LISTS", [numbers])
        helpers += table("uint8_t", "KEPT", kept.tolist())
        after = f"""\
        for (size_t i = (size_t)c * LANES; i < ((size_t)c + 1) * LANES && i < weights; i++)
            for (int p = 0; p < {points}; p++)
                if (KEPT[a->shape[i]][p])
                    out[p * count + place[LISTS[0][p] * weights + i]] = of_points[p * LANES + i % LANES];
"""
        before = """\
    const uint32_t *place = (const uint32_t *)in + a->first;
    const size_t weights = (size_t)a->apart;
"""
    body = f"""\
        const size_t count = (size_t)a->planes * LANES;
        const {t} *w = (const {t} *)(const void *)a->scale + (size_t)c * LANES;
{f"        {t} of_points[{points} * LANES] __attribute__((aligned(64)));{chr(10)}" if kernel.skips else ""}\
        {t} *o = {target};
        vf k[{wide * wide}] = {{{{0}}}}, t[{len(down)}][{wide}];
{loads if whole else spread}
        for (int j = 0; j < {wide}; j++) {{
            {_named(f"k[{wide * i} + j]" for i in range(wide))}
            {_sums(down, "t[{}][j] = {};")}
        }}
        for (int i = 0; i < {len(down)}; i++) {{
            {_named(f"t[i][{j}]" for j in range(wide))}
            {_sums(across, f"ST(o, {{1}}); o += {step};")}
        }}
{after}"""
    return walk(kernel, kernel.lanes, helpers, body, kernel.dtype.in_floats, before=before)


def render_input(kernel: WinogradInputKernel) -> str:
    """Return the C file of the transform of inputs: each tile of plane `c` becomes a vector of every point.

    With strides, plane `c` is one of several that are made of one channel.
    """
    src, out, step = kernel.source, kernel.output, kernel.stride
    t = ctype(out.dtype)
    down, across = (one.inputs for one in transforms(kernel.size, kernel.taps))
    tiles = []
    for rows, cols in _shapes(kernel.computed, kernel.size):
        high, wide = rows + kernel.taps - 1, cols + kernel.taps - 1
        head = f"static inline void tile_{rows}x{cols}(const {t} *p, {t} *o, size_t apart) {{\n"
        if kernel.by_lane:
            lines = _input_at_once(src, step, down[:, :high], across[:, :wide])
            tiles.append("".join([head, *(f"    {line}\n" for line in lines), "}\n"]))
            continue
        tiles.append(f"""\
{head}\
    vf t[{len(down)}][{wide}];
    for (int j = 0; j < {wide}; j++, p += {step} * LANES) {{
{_fetch_next_plane(kernel, high)}\
        {_named(f"LD(p + {i * step * src.row_vectors} * LANES)" for i in range(high))}
        {_sums(down[:, :high], "t[{}][j] = {};")}
    }}
    for (int i = 0; i < {len(down)}; i++) {{
        {_named(f"t[i][{j}]" for j in range(wide))}
        {_sums(across[:, :wide], "ST(o, {1}); o += apart;")}
    }}
}}
""")
    (mh, mw), start = kernel.size, src.base_elems - src.vector(*kernel.pads) * src.lanes
    at = f"plane + (y * {mh * step * src.row_vectors} + x * {mw * step}) * LANES"
    channel, phase = ("c", "0") if step == 1 else (f"(c / {step**2})", _phase(step, src))
    body = f"""\
        const {t} *plane = in + (size_t){channel} * {src.plane_elems} + ({start}) + {phase};
        {t} *points = out + (size_t)c * {out.plane_elems};
        const size_t apart = (size_t)a->apart * {out.plane_elems};
{_each_tile(kernel, f"({at}, points + tile, apart)")}"""
    helpers = _HOLD + "".join(tiles) if kernel.by_lane else "".join(tiles)
    return walk(kernel, out.lanes, helpers, body, out.dtype, strip=kernel.strip > 0)


def _fetch_next_plane(kernel: WinogradInputKernel, rows: int) -> str:
    """Return the fetches of a column of the next plane's tile: strips are too short for the CPU to see them coming."""
    if not kernel.strip or kernel.stride > 1:
        return ""
    src = kernel.source
    lines = (
        f"__builtin_prefetch(p + {src.plane_elems + i * src.row_vectors * src.lanes});" for i in range(rows)
    )
    return f"        {' '.join(lines)}\n"


def _phase(step: int, source: Layout) -> str:
    """Return where plane `c` begins in its channel, where several planes are made of one."""
    return f"(c / {step} % {step} * {source.row_vectors} + c % {step}) * LANES"


def _input_at_once(source: Layout, step: int, down: Matrix, across: Matrix) -> Iterator[str]:
    """Give the statements of an input's tile, rows first, as these are loaded in pairs."""
    factors = Factors(source.lanes, down, across)
    yield from factors.declared()
    high, wide = down.shape[1], across.shape[1]
    for i in range(high):
        yield f"vf {', '.join(f't{i}_{j}' for j in range(len(across)))};"
        loads = _named(f"LD(p + {step * (i * source.row_vectors + j)} * LANES)" for j in range(wide))
        yield f"{{ {loads} {_sums(across, f't{i}_{{}} = {{}};', factors)} }}"
    for j in range(len(across)):
        named = _named(f"t{i}_{j}" for i in range(high))
        store = f"ST(o + {{}} * {len(across)} * apart, {{}});"
        yield f"{{ {named} {_sums(down, store, factors)} o += apart; HIDE(o); }}"


def render_output(kernel: WinogradOutputKernel) -> str:
    """Return the C file of the transform of products: each tile of plane `c`, with the layer's epilogue."""
    src, out = kernel.source, kernel.output
    t = ctype(out.dtype)
    down, across = (one.outputs for one in transforms(kernel.size, kernel.taps))
    wide, skip, unit = across.shape[1], kernel.residual, 2 if kernel.pool else 1
    tiles = []
    for rows, cols in _shapes(kernel.computed, kernel.size):
        epilogue = "\n    ".join(_epilogue(kernel, rows, cols, unit))
        head = f"""\
static inline void tile_{rows}x{cols}(
    const {t} *p, size_t apart, const {t} *r, float b, {t} *o, int y0, int x0) {{
    vf v[{rows}][{cols}];
"""
        if kernel.by_lane:
            lines = _output_at_once(out.lanes, down[:rows], across[:cols])
            tiles.append("".join([head, *(f"    {line}\n" for line in lines), f"    {epilogue}\n}}\n"]))
            continue
        tiles.append(f"""\
{head}\
    vf t[{rows}][{wide}];
    for (int j = 0; j < {wide}; j++, p += apart) {{
        {_named(f"LD(p + {i * wide} * apart)" for i in range(down.shape[1]))}
        {_sums(down[:rows], "t[{}][j] = {};")}
    }}
    for (int i = 0; i < {rows}; i++) {{
        {_named(f"t[i][{j}]" for j in range(wide))}
        {_sums(across[:cols], "v[i][{}] = SPLAT(b) + ({});")}
    }}
    {epilogue}
}}
""")
    (mh, mw), residual = kernel.size, "0"
    if skip:
        at = f"{skip.base_elems} + (y * {mh * skip.row_vectors} + x * {mw}) * LANES"
        residual = f"other + (size_t)c * {skip.plane_elems} + {at}"
    place = f"y * {mh // unit}, x * {mw // unit}"
    body = f"""\
        const {t} *points = in + (size_t)c * {src.plane_elems};
        {t} *o = out + (size_t)c * {out.plane_elems} + {out.base_elems};
        const size_t apart = (size_t)a->apart * {src.plane_elems};
{_each_tile(kernel, f"(points + tile, apart, {residual}, a->shift[c], o, {place})")}\
{"" if kernel.strip else fill(out)}"""
    helpers = (
        masks(out) + ("" if kernel.strip else halo(out)) + (_HOLD if kernel.by_lane else "") + "".join(tiles)
    )
    exp = needs_exp(kernel.activation.kind)
    return walk(kernel, out.lanes, helpers, body, out.dtype, exp, strip=kernel.strip > 0)


def _output_at_once(lanes: int, down: Matrix, across: Matrix) -> Iterator[str]:
    """Give the statements of an output's tile `v`, columns first, as rows are stored in pairs."""
    factors, wide = Factors(lanes, down, across), across.shape[1]
    yield from factors.declared()
    yield "const vf bias = SPLAT(b);"
    for j in range(wide):
        yield f"vf {', '.join(f't{i}_{j}' for i in range(len(down)))};"
        loads = _named(f"LD(p + {i * wide} * apart)" for i in range(down.shape[1]))
        yield f"{{ {loads} p += apart; HIDE(p); {_sums(down, f't{{}}_{j} = {{}};', factors)} }}"
    for i in range(len(down)):
        named = _named(f"t{i}_{j}" for j in range(wide))
        yield f"{{ {named} {_sums(across, f'v[{i}][{{}}] = bias + ({{}});', factors)} }}"


def _epilogue(kernel: WinogradOutputKernel, rows: int, cols: int, unit: int) -> Iterator[str]:
    """Give the statements that store a tile `v` at (y0, x0) of `o`, residual, activation, pooling and mask done."""
    out, skip = kernel.output, kernel.residual
    for i in range(0, rows, unit):
        for j in range(0, cols, unit):
            square = [(i + y, j + x) for y in range(unit) for x in range(unit)]
            parts = [f"v[{y}][{x}] += LD(r + {skip.vector(y, x)} * LANES);" for y, x in square if skip]
            v = f"v[{i}][{j}]"
            parts += [f"{v} = VMAX({v}, v[{y}][{x}]);" for y, x in square[1:]]
            y, x = f"y0 + {i // unit}", f"x0 + {j // unit}"
            parts += [apply_vector(kernel.activation, v), apply_mask(out, v, y, x)]
            parts.append(f"ST(o + (({y}) * {out.row_vectors} + {x}) * LANES, {v});")
            yield " ".join(filter(None, parts))
    if kernel.strip:
        yield from _tile_halo(kernel, rows, cols, unit)


def _tile_halo(kernel: WinogradOutputKernel, rows: int, cols: int, unit: int) -> list[str]:
    """Return what a tile `v` at (y0, x0) owes to the halo of `o`, where no plane is ever done as a whole."""
    out, (mh, mw) = kernel.output, kernel.size
    high, wide = Winograd(kernel.size).tiles(kernel.computed)
    height, width = kernel.computed.block
    places = [
        (y * mh // unit, x * mw // unit)
        for y in range(high)
        for x in range(wide)
        if (min(mh, height - y * mh), min(mw, width - x * mw)) == (rows, cols)
    ]
    tile = f"o + (y0 * {out.row_vectors} + x0) * LANES"
    shape = (rows // unit, cols // unit)
    return tile_halo(out, shape, places, tile, lambda r, c: f"v[{r * unit}][{c * unit}]")


def _shapes(computed: Layout, size: tuple[int, int]) -> list[tuple[int, int]]:
    """List the shapes of tiles, in outputs: the last ones of a block may be smaller."""
    heights, widths = (
        sorted({min(m, block), block % m or m}, reverse=True)
        for m, block in zip(size, computed.block, strict=True)
    )
    return [(rows, cols) for rows in heights for cols in widths]


def _each_tile(kernel: WinogradInputKernel | WinogradOutputKernel, arguments: str) -> str:
    """Return the loop over the tiles of a block or strip, which calls the function of each tile's shape."""
    computed, size = kernel.computed, kernel.size
    high, wide = Winograd(size).tiles(computed)
    cases = []
    for rows, cols in _shapes(computed, size):
        whole = [
            f"{name} < {block // m}"
            for name, block, m, have in zip("yx", computed.block, size, (rows, cols), strict=True)
            if have == m and block % m
        ]
        cases.append(f"if ({' && '.join(whole) or '1'}) tile_{rows}x{cols}{arguments};")
    if kernel.strip:
        return f"""\
        for (int i = begin; i < end; i++) {{
            const int y = i / {wide}, x = i % {wide};
            const size_t tile = (size_t)(i - begin) * LANES;
            {" else ".join(cases)}
        }}
"""
    return f"""\
        for (int y = 0; y < {high}; y++)
            for (int x = 0; x < {wide}; x++) {{
                const size_t tile = (size_t)(y * {wide} + x) * LANES;
                {" else ".join(cases)}
            }}
"""


def _named(values: Iterator[str]) -> str:
    """Return the declaration of x0, x1, ... as these values."""
    return "const vf " + ", ".join(f"x{i} = {value}" for i, value in enumerate(values)) + ";"


class Factors:
    """The factors of some matrices, side by side in registers f0, f1, ..."""

    def __init__(self, lanes: int, *matrices: Matrix) -> None:
        self.lanes = lanes
        found = sorted({float(w) for matrix in matrices for w in matrix.flat if abs(w) not in (0, 1)})
        self.places = {value: i for i, value in enumerate(found)}

    def declared(self) -> Iterator[str]:
        """Give the statements that fill the registers."""
        found = list(self.places)
        for i in range(0, len(found), self.lanes):
            values = ", ".join(map(number, found[i : i + self.lanes]))
            name = f"f{i // self.lanes}"
            yield f"vf {name} = {{{values}}}; HOLD({name});"

    def spell(self, weight: float) -> str:
        """Spell a factor with its sign."""
        register, lane = divmod(self.places[float(weight)], self.lanes)
        return f"LANE(f{register}, {lane})"


def _sums(matrix: Matrix, statement: str, factors: Factors | None = None) -> str:
    """Return the product of a matrix and x0, x1, ...: `statement` takes a row's number and its sum."""
    lines: list[str] = []
    names = [f"x{i}" for i in range(matrix.shape[1])]
    matrix, names = _paired_columns(matrix, names, lines)
    done = 0
    while done < len(matrix):
        pair = matrix[done : done + 2]
        same = pair[0] == pair[-1]
        if len(pair) == 2 and (same | (pair[0] == -pair[1])).all() and pair[0][same].any() and not same.all():
            even, odd = f"e{done}", f"o{done}"
            lines.append(f"const vf {even} = {_sum(np.where(same, pair[0], 0), names, factors)};")
            lines.append(f"const vf {odd} = {_sum(np.where(same, 0, pair[0]), names, factors)};")
            lines += [
                statement.format(done, f"{even} + {odd}"),
                statement.format(done + 1, f"{even} - {odd}"),
            ]
            done += 2
        else:
            lines.append(statement.format(done, _sum(pair[0], names, factors)))
            done += 1
    return (" " if factors else "\n        ").join(lines)


def _paired_columns(matrix: Matrix, names: list[str], lines: list[str]) -> tuple[Matrix, list[str]]:
    """Take sum and difference of neighbouring columns that every row weighs alike but for signs."""
    i = 0
    while len(matrix) > 2 and i + 1 < len(names):
        left, right = matrix[:, i], matrix[:, i + 1]
        if (np.abs(left) == np.abs(right)).all() and (left == right).any() and (left == -right).any():
            a, b = names[i : i + 2]
            lines += [f"const vf s{i} = {a} + {b};", f"const vf d{i} = {a} - {b};"]
            names = [*names[:i], f"s{i}", f"d{i}", *names[i + 2 :]]
            columns = np.where(left == right, left, 0), np.where(left == right, 0, left)
            matrix = np.column_stack([matrix[:, :i], *columns, matrix[:, i + 2 :]])
            i += 1
        i += 1
    return matrix, names


def _sum(row: Sequence[float] | Matrix, names: Sequence[str], factors: Factors | None) -> str:
    """Return a weighted sum; the terms without a factor first."""
    terms = sorted(
        ((w, name) for w, name in zip(row, names, strict=True) if w), key=lambda t: (abs(t[0]) != 1, -t[0])
    )
    text = "(vf){0}"
    for i, (weight, name) in enumerate(terms):
        if abs(weight) == 1:
            value, negative = name, weight < 0
        elif factors:
            value, negative = f"{name} * {factors.spell(weight)}", False
        else:
            value, negative = f"{name} * SPLAT({number(abs(weight))})", weight < 0
        if i == 0:
            text = f"-{value}" if negative else value
        else:
            text += f" {'-' if negative else '+'} {value}"
    return text
