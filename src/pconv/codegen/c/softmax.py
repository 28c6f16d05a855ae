"""Softmax: along neighbours, a row at a time, or along what lies further apart, some vectors of positions at a time.

All is read for the largest, again for the powers, and what was written then is divided by the sum.
"""

from pconv.codegen.c.planes import walk
from pconv.codegen.c.prelude import UNALIGNED, over_lanes
from pconv.lower.kernels import SoftmaxKernel
from pconv.lower.ops.softmax import POSITIONS

VECTORS = 4
"""Vectors of positions that go together: their maxima and sums stay in registers."""

HELPERS = f"""\
{UNALIGNED}\
FN vf power(vf x) {{ /* e^x of what is at most 0; where that is below what exp_f32 knows, as of -inf, it is 0 */
    const vi some = x > SPLAT(-87.0f);
    EACH(exp_f32, x);
    return (vf)(some & (vi)x);
}}
"""


def render(kernel: SoftmaxKernel) -> str:
    """Return the C file of a softmax; what tasks count are rows, or blocks of positions."""
    n, inner, lanes = kernel.length, kernel.inner, kernel.lanes
    if inner == 1:
        body = f"        row(in + (size_t)c * {n}, out + (size_t)c * {n});\n"
        return walk(kernel, lanes, HELPERS + _row(n, lanes), body, exp=True)
    blocks = -(-inner // POSITIONS)
    helpers = _columns("columns", kernel, VECTORS, lanes) + _columns("column", kernel, 1, lanes)
    body = f"""\
        const int32_t end_of_block = (c % {blocks} + 1) * {POSITIONS};
        const int32_t last = end_of_block < {inner} ? end_of_block : {inner};
        const float *p = in + (size_t)(c / {blocks}) * {n * inner};
        float *q = out + (size_t)(c / {blocks}) * {n * inner};
        int32_t i = c % {blocks} * {POSITIONS};
        for (; i + {VECTORS * lanes} <= last; i += {VECTORS * lanes}) columns(p + i, q + i);
        for (; i + {lanes} <= last; i += {lanes}) column(p + i, q + i);
"""
    if inner % lanes:
        helpers += _columns("rest", kernel, 1, inner % lanes)
        body += "        if (i < last) rest(p + i, q + i);\n"
    return walk(kernel, lanes, HELPERS + helpers, body, exp=True)


def _columns(name: str, kernel: SoftmaxKernel, vectors: int, size: int) -> str:
    """Return the function for some vectors of positions, of which so many count."""
    lanes, every = kernel.lanes, range(vectors)

    def loop(source: str, change: str, store: bool) -> str:
        lines = ""
        for v in every:
            get, put = _get(f"x{v}", f"{source} + at + {v * lanes}", size, lanes), ""
            if store:
                put = _put(f"x{v}", f"q + at + {v * lanes}", size, lanes)
            lines += f"        vf x{v} = SPLAT(0.0f); {get} {change.format(v=v)} {put}\n"
        elems = kernel.length * kernel.inner
        return f"    for (size_t at = 0; at < {elems}; at += {kernel.inner}) {{\n{lines}    }}\n"

    return f"""\
FN void {name}(const float *p, float *q) {{
    vf {", ".join(f"top{v} = SPLAT(-__builtin_inff()), sum{v} = {{0}}" for v in every)};
{loop("p", "top{v} = VMAX(top{v}, x{v});", False)}\
{loop("p", "x{v} = power(x{v} - top{v}); sum{v} += x{v};", True)}\
{loop("q", "x{v} /= sum{v};", True)}\
}}
"""


def _row(n: int, lanes: int) -> str:
    """Return the function for a row; what is left of it in the last vector is the smallest there is."""
    whole, rest = n // lanes * lanes, n % lanes

    def loop(source: str, change: str, store: bool) -> str:
        put = _put("x", "q + i", lanes, lanes) if store else ""
        text = f"    for (int32_t i = 0; i < {whole}; i += {lanes}) {{ vf x = LDU({source} + i); {change} {put} }}\n"
        if rest:
            get = _get("x", f"{source} + {whole}", rest, lanes)
            put = _put("x", f"q + {whole}", rest, lanes) if store else ""
            text += f"    {{ vf x = SPLAT(-__builtin_inff()); {get} {change} {put} }}\n"
        return text

    return f"""\
{over_lanes("largest", "VMAX({0}, {1})", lanes)}{over_lanes("total", "{0} + {1}", lanes)}\
FN void row(const float *p, float *q) {{
    vf top = SPLAT(-__builtin_inff()), sum = {{0}};
{loop("p", "top = VMAX(top, x);", False)}\
    top = largest(top);
{loop("p", "x = power(x - top); sum += x;", True)}\
    sum = SPLAT(1.0f) / total(sum);
{loop("q", "x *= sum;", True)}\
}}
"""


def _get(x: str, place: str, size: int, lanes: int) -> str:
    return f"{x} = LDU({place});" if size == lanes else f"memcpy(&{x}, {place}, {4 * size});"


def _put(x: str, place: str, size: int, lanes: int) -> str:
    return f"STU({place}, {x});" if size == lanes else f"memcpy({place}, &{x}, {4 * size});"
