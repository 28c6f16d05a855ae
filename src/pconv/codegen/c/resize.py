"""Resizing: each source row is resized across once, and waits among as many as one output row is the sum of.

    source rows  --across-->  rows[]  a ring of as many as there are taps down  --down-->  output rows

The constants: `table` has the source vector of each tap across and each x, the first source row of each output row, and
where each source row begins; `value` the weights of each tap across and x, and of each output row and tap down. Of
dense rows, a vector is one float.
"""

from pconv.codegen.c.halo import halo
from pconv.codegen.c.planes import fill, walk
from pconv.codegen.c.prelude import ctype
from pconv.lower.kernels import ResizeKernel


def render(kernel: ResizeKernel) -> str:
    """Return the C file of a resize."""
    src, out, (down, across) = kernel.source, kernel.output, kernel.taps
    read, written, width = ctype(src.dtype), ctype(out.dtype), out.block_w
    vector, load, lanes = ("float", "*", 1) if out.planar else ("vf", "LD", out.lanes)
    taken = " + ".join(
        f"{load}(s + place[{k * width} + x]) * {load}(across + ({k * width} + x) * {lanes})"
        for k in range(across)
    )
    held = "".join(
        f"            const {vector} *t{k} = rows[(top + {k}) % {down}], "
        f"w{k} = {load}(down + (y * {down} + {k}) * {lanes});\n"
        for k in range(down)
    )
    added = " + ".join(f"w{k} * t{k}[x]" for k in range(down))
    store = f"q[x] = {added};" if out.planar else f"ST(q + x * {lanes}, {added});"
    before = f"""\
    const int32_t *place = a->table, *first = place + {across * width}, *start = first + {out.block_h};
    const {written} *across = a->value, *down = across + {across * width * lanes};
"""
    body = f"""\
        const {read} *p = in + (size_t)c * {src.plane_elems};
        {written} *o = out + (size_t)c * {out.plane_elems} + {out.base_elems};
        {vector} rows[{down}][{width}]; /* number n, resized across, in place n % {down} */
        for (int32_t y = 0, next = 0; y < {out.block_h}; y++) {{
            const int32_t top = first[y];
            if (top > next || top + {down} < next) next = top;
            for (; next < top + {down}; next++) {{
                const {read} *s = p + start[next];
                {vector} *t = rows[next % {down}];
                for (int32_t x = 0; x < {width}; x++) t[x] = {taken};
            }}
{held}\
            {written} *restrict q = o + y * {out.row_vectors * lanes};
            for (int32_t x = 0; x < {width}; x++) {store}
        }}
{fill(out)}"""
    return walk(kernel, out.lanes, halo(out), body, out.dtype, before=before)
