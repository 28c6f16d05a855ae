"""Dense planes into blocks of four lanes and back: 4x4 transposes, which AArch64's st4 and ld4 do on the way to memory.

four rows of four neighbours, one of each block      one store: four vectors, side by side
a0 a1 a2 a3   b0 b1 b2 b3   c0 c1 ..   d0 d1 ..  ->  a0 b0 c0 d0   a1 b1 c1 d1   a2 b2 c2 d2   a3 b3 c3 d3
"""

from pconv.codegen.c.halo import halo
from pconv.codegen.c.planes import fill, walk
from pconv.lower.kernels import INTERLEAVED, InterleaveKernel
from pconv.lower.layout import Layout

_HELPERS = """\
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64), aligned(16), may_alias));
typedef float any_vf __attribute__((vector_size(16), aligned(4), may_alias));
#define LDU(p) (*(const any_vf *)(p))
#define STU(p, v) (*(any_vf *)(p) = (v))
static inline void interleave(float *o, vf a, vf b, vf c, vf d) {
    v8 ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
    v8 cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    *(v16 *)o = __builtin_shufflevector(ab, cd, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}
"""


def render(kernel: InterleaveKernel) -> str:
    """Return the C file; a last group of fewer than four neighbours is copied with some that were copied before."""
    to_dense = kernel.output.planar
    blocks, dense = (kernel.source, kernel.output) if to_dense else (kernel.output, kernel.source)
    starts = [*range(0, blocks.block_w - INTERLEAVED, INTERLEAVED), blocks.block_w - INTERLEAVED]
    corners = [
        dense.vector(row * blocks.block_h, col * blocks.block_w)
        for row in range(blocks.rows)
        for col in range(blocks.cols)
    ]
    body = f"""\
        const float *p = in + (size_t)c * {kernel.source.plane_elems} + {kernel.source.base_elems};
        float *o = out + a->first + (size_t)c * {kernel.output.plane_elems} + {kernel.output.base_elems};
        for (int y = 0; y < {blocks.block_h}; y++) {{
            const float *s = p + y * {_row_elems(kernel.source)};
            float *t = o + y * {_row_elems(kernel.output)};
"""
    for x in starts:
        if to_dense:
            body += f"            {{ v16 v = *(const v16 *)(s + {x * INTERLEAVED});"
            for lane, corner in enumerate(corners):
                picks = ", ".join(str(i * INTERLEAVED + lane) for i in range(INTERLEAVED))
                body += f" STU(t + {corner + x}, __builtin_shufflevector(v, v, {picks}));"
            body += " }\n"
        else:
            rows = ", ".join(f"LDU(s + {corner + x})" for corner in corners)
            body += f"            interleave(t + {x * INTERLEAVED}, {rows});\n"
    body += "        }\n"
    return walk(kernel, INTERLEAVED, _HELPERS + halo(kernel.output), body + fill(kernel.output))


def _row_elems(layout: Layout) -> int:
    return layout.row_vectors * layout.lanes
