"""Resizing: each source row is resized across once, and waits among as many as one output row is the sum of.

    source rows  --across-->  rows[]  a ring of as many as there are taps down  --down-->  output rows

The constants: `table` has the source vector of each tap across and each x, the first source row of each output row, and
where each source row begins; `value` the weights of each tap across and x, and of each output row and tap down. Of
dense rows, a vector is one float. Of nearest neighbours nothing is summed: each lane takes the tap whose weight is 1.
"""

from collections.abc import Sequence

from pconv.codegen.c.halo import apply_mask, halo, masks
from pconv.codegen.c.planes import fill, walk
from pconv.codegen.c.prelude import ctype
from pconv.lower.kernels import ResizeKernel

_PICK = "FN vf PICK(vf w, vf a, vf b) { vi m = w != (vf){0}; return (vf)((m & (vi)a) | (~m & (vi)b)); }\n"


def render(kernel: ResizeKernel) -> str:
    """Return the C file of a resize."""
    src, out, (down, across) = kernel.source, kernel.output, kernel.taps
    read, written, width = ctype(src.dtype), ctype(out.dtype), out.block_w
    vector, load, lanes = ("float", "*", 1) if out.planar else ("vf", "LD", out.lanes)
    taken = _joined(
        kernel,
        [f"{load}(s + place[{k * width} + x])" for k in range(across)],
        [f"{load}(across + ({k * width} + x) * {lanes})" for k in range(across)],
    )
    held = "".join(
        f"            const {vector} *t{k} = rows[(top + {k}) % {down}]"
        + f", w{k} = {load}(down + (y * {down} + {k}) * {lanes})" * (k > 0 or not kernel.nearest)
        + ";\n"
        for k in range(down)
    )
    added = _joined(kernel, [f"t{k}[x]" for k in range(down)], [f"w{k}" for k in range(down)])
    mask = apply_mask(out, "v", "y", "x") if kernel.nearest else ""
    store = "q[x] = v;" if out.planar else f"ST(q + x * {lanes}, v);"
    before = f"""\
    const int32_t *place = a->table, *first = place + {across * width}, *start = first + {out.block_h};
    const {written} *across = a->value, *down = across + {across * width * lanes};
    (void)down;
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
            for (int32_t x = 0; x < {width}; x++) {{
                {vector} v = {added};
                {mask}
                {store}
            }}
        }}
{fill(out)}"""
    helpers = (_PICK + masks(out) if kernel.nearest else "") + halo(out)
    return walk(kernel, out.lanes, helpers, body, out.dtype, before=before)


def _joined(kernel: ResizeKernel, values: Sequence[str], weights: Sequence[str]) -> str:
    """Return the sum of values times weights, or the value whose weight is 1."""
    if not kernel.nearest:
        return " + ".join(f"{value} * {weight}" for value, weight in zip(values, weights, strict=True))
    first, *others = values
    for value, weight in zip(others, weights[1:], strict=True):
        first = f"PICK({weight}, {value}, {first})"
    return first
