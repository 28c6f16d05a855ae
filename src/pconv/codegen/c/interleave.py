"""Dense planes into blocks of few lanes and back: 4x4 transposes, which AArch64's st4 and ld4 do on the way to memory.

    four rows of four neighbours, one of each block      one store: four vectors, side by side
    a0 a1 a2 a3   b0 b1 b2 b3   c0 c1 ..   d0 d1 ..  ->  a0 b0 c0 d0   a1 b1 c1 d1   a2 b2 c2 d2   a3 b3 c3 d3

Halves are converted between registers, so that these are transposed there too, four blocks at a time.
"""

from pconv.codegen.c.halo import halo
from pconv.codegen.c.planes import fill, walk
from pconv.codegen.c.prelude import ctype
from pconv.lower.kernels import INTERLEAVED, InterleaveKernel
from pconv.lower.layout import Layout
from pconv.targets.dtype import FP32

_HELPERS = """\
typedef float v4 __attribute__((vector_size(16), may_alias));
typedef float v8 __attribute__((vector_size(32)));
typedef float any_v4 __attribute__((vector_size(16), aligned(4), may_alias));
#define LDU(p) (*(const any_v4 *)(p))
#define STU(p, v) (*(any_v4 *)(p) = (v))
"""

_FLOATS = """\
typedef float v16 __attribute__((vector_size(64), aligned(16), may_alias));
static inline void interleave(float *o, v4 a, v4 b, v4 c, v4 d) {
    v8 ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
    v8 cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    *(v16 *)o = __builtin_shufflevector(ab, cd, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}
"""

_HALVES = """\
typedef _Float16 vh __attribute__((vector_size(2 * LANES), may_alias));
typedef float vw __attribute__((vector_size(4 * LANES)));
static inline void transpose(v4 *v) {
    v4 p = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), q = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    v4 r = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7), s = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(p, q, 0, 1, 4, 5), v[1] = __builtin_shufflevector(p, q, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(r, s, 0, 1, 4, 5), v[3] = __builtin_shufflevector(r, s, 2, 3, 6, 7);
}
"""


def render(kernel: InterleaveKernel) -> str:
    """Return the C file; a last group of fewer than four neighbours is copied with some that were copied before."""
    source, output = kernel.source, kernel.output
    blocks, dense = (source, output) if output.planar else (output, source)
    starts = [*range(0, blocks.block_w - INTERLEAVED, INTERLEAVED), blocks.block_w - INTERLEAVED]
    corners = [
        dense.vector(row * blocks.block_h, col * blocks.block_w)
        for row in range(blocks.rows)
        for col in range(blocks.cols)
    ]
    halves = blocks.dtype.stored != FP32.stored
    copy = _copy_halves if halves else _copy_floats
    body = f"""\
        const {ctype(source.dtype)} *p = in + (size_t)c * {source.plane_elems} + {source.base_elems};
        {ctype(output.dtype)} *o = out + a->first + (size_t)c * {output.plane_elems} + {output.base_elems};
        for (int y = 0; y < {blocks.block_h}; y++) {{
            const {ctype(source.dtype)} *s = p + y * {_row_elems(source)};
            {ctype(output.dtype)} *t = o + y * {_row_elems(output)};
"""
    body += "".join(f"            {{ {copy(output.planar, x, corners)} }}\n" for x in starts) + "        }\n"
    helpers = _HELPERS + (_HALVES if halves else _FLOATS) + halo(output)
    return walk(kernel, blocks.lanes, helpers, body + fill(output), blocks.dtype)


def _copy_floats(to_dense: bool, x: int, corners: list[int]) -> str:
    """Return the copy of four neighbours in each of four blocks."""
    if not to_dense:
        return (
            f"interleave(t + {x * INTERLEAVED}, {', '.join(f'LDU(s + {corner + x})' for corner in corners)});"
        )
    text = f"v16 v = *(const v16 *)(s + {x * INTERLEAVED});"
    for lane, corner in enumerate(corners):
        picks = ", ".join(str(i * INTERLEAVED + lane) for i in range(INTERLEAVED))
        text += f" STU(t + {corner + x}, __builtin_shufflevector(v, v, {picks}));"
    return text


def _copy_halves(to_dense: bool, x: int, corners: list[int]) -> str:
    """Return the same for four or eight blocks of halves: `u` are four of them, `w` the others."""
    lanes, sets = len(corners), "uw"[: len(corners) // 4]
    places = {name: corners[4 * i : 4 * i + 4] for i, name in enumerate(sets)}
    at = [(x + i) * lanes for i in range(INTERLEAVED)]
    turn = " ".join(f"transpose({name});" for name in sets)
    if to_dense:
        text = f"v4 {', '.join(f'{name}[4]' for name in sets)};"
        for i, place in enumerate(at):
            text += f" {{ vw v = __builtin_convertvector(*(const vh *)(s + {place}), vw);"
            for k, name in enumerate(sets):
                text += f" {name}[{i}] = __builtin_shufflevector(v, v, {', '.join(str(4 * k + j) for j in range(4))});"
            text += " }"
        stores = (f"STU(t + {c + x}, {name}[{i}]);" for name in sets for i, c in enumerate(places[name]))
        return f"{text} {turn} {' '.join(stores)}"
    rows = ", ".join(f"{n}[4] = {{{', '.join(f'LDU(s + {c + x})' for c in places[n])}}}" for n in sets)
    both = "u[{i}]" if lanes == 4 else "__builtin_shufflevector(u[{i}], w[{i}], 0, 1, 2, 3, 4, 5, 6, 7)"
    stores = (
        f"*(vh *)(t + {p}) = __builtin_convertvector({both.format(i=i)}, vh);" for i, p in enumerate(at)
    )
    return f"v4 {rows}; {turn} {' '.join(stores)}"


def _row_elems(layout: Layout) -> int:
    return layout.row_vectors * layout.lanes
