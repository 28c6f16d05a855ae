"""Products of two computed matrices: columns of the second are packed once for all rows that a task has."""

from pconv.codegen.c.prelude import UNALIGNED, number, prelude
from pconv.lower.kernels import MatMulKernel

ARGS = """\
typedef struct {
    float *panel;
    int32_t planes, tasks;
} matmul_args;
"""

_TRANSPOSED = """\
typedef float v4 __attribute__((vector_size(16), may_alias));
typedef float any_v4 __attribute__((vector_size(16), aligned(4), may_alias));
FN void transpose(const float *p, float *q) {{
    v4 a = *(const any_v4 *)p, b = *(const any_v4 *)(p + {k});
    v4 c = *(const any_v4 *)(p + 2 * {k}), d = *(const any_v4 *)(p + 3 * {k});
    v4 e = __builtin_shufflevector(a, b, 0, 4, 1, 5), f = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    v4 g = __builtin_shufflevector(a, b, 2, 6, 3, 7), h = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(v4 *)q = __builtin_shufflevector(e, f, 0, 1, 4, 5);
    *(v4 *)(q + {columns}) = __builtin_shufflevector(e, f, 2, 3, 6, 7);
    *(v4 *)(q + 2 * {columns}) = __builtin_shufflevector(g, h, 0, 1, 4, 5);
    *(v4 *)(q + 3 * {columns}) = __builtin_shufflevector(g, h, 2, 3, 6, 7);
}}
/* `width` rows of b, and zeros up to `padded`. */
FN void pack(const float *b, float *panel, int width, int padded) {{
    for (int j = 0; j < padded; j += 4) {{
        int32_t l = 0;
        if (j + 4 <= width)
            for (; l + 4 <= {k}; l += 4) transpose(b + (size_t)j * {k} + l, panel + (size_t)l * {columns} + j);
        for (; l < {k}; l++)
            for (int i = j; i < j + 4; i++) panel[(size_t)l * {columns} + i] = i < width ? b[(size_t)i * {k} + l] : 0;
    }}
}}
"""

_COPIED = """\
/* `width` columns of b, and zeros up to `padded`. */
FN void pack(const float *b, float *panel, int width, int padded) {{
    for (int32_t l = 0; l < {k}; l++, b += {n}, panel += {columns}) {{
        memcpy(panel, b, sizeof(float) * (size_t)width);
        memset(panel + width, 0, sizeof(float) * (size_t)(padded - width));
    }}
}}
"""


def signature(kernel: MatMulKernel) -> str:
    """Return the function's prototype, without the semicolon."""
    return (
        f"void {kernel.name}(const float *in, const float *other, float *out, const void *args, "
        "int32_t begin, int32_t end)"
    )


def render(kernel: MatMulKernel) -> str:
    """Return the C file of a product; a unit is some rows of a plane."""
    m, k, n, columns, parts = kernel.m, kernel.k, kernel.n, kernel.columns, kernel.parts
    tiles, pack = -(-m // kernel.rows), _TRANSPOSED if kernel.transposed[1] else _COPIED
    whole, rest = n // columns * columns, n % columns
    panels = ""
    if whole:
        loop = f"for (int32_t j = 0; j < {whole}; j += {columns})"
        panels += f"        {loop} {{\n{_panel(kernel, 'j', columns)}        }}\n"
    if rest:
        panels += f"        {{\n{_panel(kernel, str(whole), rest)}        }}\n"
    sizes = sorted(
        {(r, w) for r in (kernel.rows, m % kernel.rows) for w in (whole and columns, rest) if r and w}
    )
    return f"""\
/* {kernel.name}: {kernel.rows} rows of {columns} columns at a time. */
{prelude(kernel.lanes)}{UNALIGNED}{ARGS}\
{pack.format(k=k, n=n, columns=columns)}\
{"".join(_tile(kernel, *size) for size in sizes)}\
{signature(kernel)} {{
    const matmul_args *args_of = args;
    const int32_t units = args_of->planes * {parts};
    const int32_t from = (int32_t)((int64_t)units * begin / args_of->tasks);
    const int32_t to = (int32_t)((int64_t)units * end / args_of->tasks);
    float *panel = args_of->panel;
    for (int32_t unit = from; unit < to; unit++) {{
        const int32_t part = unit % {parts}, first = {tiles} * part / {parts}, last = {tiles} * (part + 1) / {parts};
        const float *a = in + (size_t)(unit / {parts}) * {m * k}, *b = other + (size_t)(unit / {parts}) * {k * n};
        float *o = out + (size_t)(unit / {parts}) * {m * n};
{panels}    }}
}}
"""


def _panel(kernel: MatMulKernel, column: str, width: int) -> str:
    """Return the loop over tiles of rows, for columns that are packed first."""
    m, k, n, rows = kernel.m, kernel.k, kernel.n, kernel.rows
    source = f"b + (size_t){column} * {k}" if kernel.transposed[1] else f"b + {column}"
    padded = -(-width // kernel.lanes) * kernel.lanes
    place = (
        f"a + i * {rows if kernel.transposed[0] else rows * k}, panel, o + (size_t)i * {rows * n} + {column}"
    )
    call, full = f"tile{rows}x{width}({place});", m // rows
    loop = f"for (int32_t i = first; i < last; i++) {call}"
    if m % rows:
        loop = f"""\
for (int32_t i = first; i < last; i++)
                if (i < {full}) {call}
                else tile{m % rows}x{width}({place});"""
    return f"            pack({source}, panel, {width}, {padded});\n            {loop}\n"


def _tile(kernel: MatMulKernel, rows: int, width: int) -> str:
    """Return the function that computes so many rows and columns."""
    k, n, lanes = kernel.k, kernel.n, kernel.lanes
    vectors, rest = -(-width // lanes), width % lanes
    row, step = (1, kernel.m) if kernel.transposed[0] else (k, 1)
    sums = ", ".join(f"s{r}_{v} = {{0}}" for r in range(rows) for v in range(vectors))
    loads = ", ".join(f"b{v} = LD(panel + {v * lanes})" for v in range(vectors))
    adds = "".join(
        f"        {{ vf x = SPLAT(a[{r * row}]); {' '.join(f's{r}_{v} += x * b{v};' for v in range(vectors))} }}\n"
        for r in range(rows)
    )
    stores = ""
    for r in range(rows):
        for v in range(vectors):
            value = f"s{r}_{v}" if kernel.scale == 1 else f"s{r}_{v} * SPLAT({number(kernel.scale)})"
            place = f"o + {r * n + v * lanes}"
            partial = rest and v == vectors - 1
            put = (
                f"vf y = {value}; memcpy({place}, &y, {4 * rest});" if partial else f"STU({place}, {value});"
            )
            stores += f"    {{ {put} }}\n"
    return f"""\
FN void tile{rows}x{width}(const float *a, const float *panel, float *o) {{
    vf {sums};
    for (int32_t l = 0; l < {k}; l++, a += {step}, panel += {kernel.columns}) {{
        vf {loads};
{adds}    }}
{stores}}}
"""
