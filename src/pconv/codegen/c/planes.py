"""Everything that walks plane by plane: gather, pooling, element-wise."""

from pconv.codegen.c.activation import apply_scalar, apply_vector
from pconv.codegen.c.halo import apply_mask, halo, has_halo, masks
from pconv.codegen.c.prelude import UNALIGNED, ctype, needs_exp, prelude, widened
from pconv.lower.kernels import (
    ArgMaxKernel,
    ConstantKernel,
    ElementwiseKernel,
    GatherKernel,
    GlobalAverageKernel,
    InterleaveKernel,
    PoolKernel,
    PoolTableKernel,
    ResizeKernel,
    SoftmaxKernel,
    WinogradInputKernel,
    WinogradOutputKernel,
    WinogradWeightsKernel,
)
from pconv.lower.layout import Layout
from pconv.targets.dtype import FP32, DType

ARGS = """\
typedef struct {
    const int32_t *base, *table, *holes;
    const float *scale, *shift;
    const uint8_t *shape;
    const void *value;
    int32_t planes, tasks, apart, hole_count;
    int64_t first;
} plane_args;
"""

_DENSE_LANES = 16

PlaneKernel = (
    ArgMaxKernel
    | ConstantKernel
    | ElementwiseKernel
    | GatherKernel
    | GlobalAverageKernel
    | InterleaveKernel
    | PoolKernel
    | PoolTableKernel
    | ResizeKernel
    | SoftmaxKernel
    | WinogradInputKernel
    | WinogradOutputKernel
    | WinogradWeightsKernel
)


def signature(kernel: PlaneKernel) -> str:
    """Return the function's prototype, without the semicolon."""
    read, written = _types(kernel)
    return (
        f"void {kernel.name}(const {read} *in, const {read} *other, {written} *out, const void *args, "
        "int32_t begin, int32_t end)"
    )


def _types(kernel: PlaneKernel) -> tuple[str, str]:
    """Return how C spells what is read and what is written."""
    if isinstance(kernel, SoftmaxKernel):
        return ctype(FP32), ctype(FP32)
    if isinstance(kernel, WinogradWeightsKernel):
        return ctype(FP32), ctype(kernel.dtype)
    if isinstance(kernel, ConstantKernel):
        return ctype(FP32), ctype(kernel.output.dtype)
    source = kernel.sources[0] if isinstance(kernel, ElementwiseKernel) else kernel.source
    return ctype(source.dtype), ctype(kernel.output.dtype)


def walk(
    kernel: PlaneKernel,
    lanes: int,
    helpers: str,
    body: str,
    dtype: DType = FP32,
    exp: bool = False,
    before: str = "",
    strip: bool = False,
) -> str:
    """Wrap `body`, which handles plane `c`, into a function over a range of tasks; `dtype` is that of its vectors.

    `before` stands before the first plane, number `from`. Of a `strip`, `body` handles tiles `begin` to `end` of plane
    `c`, and the function all planes.
    """
    first, last, bounds = "0", "a->planes", ""
    if not strip:
        first, last = "from", "to"
        bounds = """\
    int32_t from = (int32_t)((int64_t)a->planes * begin / a->tasks);
    int32_t to = (int32_t)((int64_t)a->planes * end / a->tasks);
"""
    return f"""\
/* {kernel.name} */
{prelude(lanes, dtype, exp)}{ARGS}{helpers}\
{signature(kernel)} {{
    const plane_args *a = args;
{bounds}\
    (void)other;
{before}\
    for (int32_t c = {first}; c < {last}; c++) {{
{body}    }}
}}
"""


def render_gather(kernel: GatherKernel) -> str:
    """Return the C file of a gather, or of a plain copy of planes; a gather also converts between types."""
    elems, (read, written) = kernel.output.plane_elems, _types(kernel)
    target = f"        {written} *o = out + a->first + (size_t)c * {elems};\n"
    if kernel.plain:
        body = target + f"        memcpy(o, in + (size_t)c * {elems}, sizeof({written}) * {elems});\n"
        return walk(kernel, kernel.output.lanes, "", body)
    own = kernel.output.image_lanes
    moved = f"        for (int32_t i = 0; i < {elems}; i++) q[i] = p[table[i]];\n"
    if kernel.source.images < kernel.output.images:
        moved = f"""\
        for (int32_t v = 0; v < {kernel.output.plane_vectors}; v++, table += {own})
            for (int32_t i = 0; i < {own}; i++) q[v * LANES + i] = p[table[i]];
"""
    each = f"{moved}        for (int32_t i = 0; i < a->hole_count; i++) q[a->holes[i]] = 0;\n"
    if kernel.output.planar:
        each = f"""\
        for (int32_t i = 0; i < {elems}; i++) {{
            int32_t t = table[i];
            {written} v = p[t < 0 ? 0 : t];
            q[i] = t < 0 ? 0 : v;
        }}
"""
    body = (
        target
        + f"""\
        int32_t base = a->base[c];
        if (base < 0) {{
            memset(o, 0, sizeof({written}) * {elems});
            continue;
        }}
        const {read} *p = in + base;
        const int32_t *restrict table = a->table;
        {written} *restrict q = o;
{each}"""
    )
    return walk(kernel, kernel.output.lanes, "", body)


def render_pool_table(kernel: PoolTableKernel) -> str:
    """Return the C file of pooling through a table. Halves are added up one element after another, as floats."""
    elems, (read, written) = kernel.output.plane_elems, _types(kernel)
    head = f"""\
        const {read} *p = in + (size_t)c * {kernel.source.plane_elems};
        {written} *restrict q = out + (size_t)c * {elems};
        const float *restrict scale = a->scale;
"""
    if kernel.kind == "max":
        body = f"""\
        const int32_t *restrict table = a->table;
        for (int32_t i = 0; i < {elems}; i++) {{
            float top = p[table[i]];
            for (int32_t k = 1; k < {kernel.window}; k++) {{
                float v = p[table[k * {elems} + i]];
                top = v > top ? v : top;
            }}
            q[i] = scale[i] > 0 ? top : 0.0f;
        }}
"""
        return walk(kernel, kernel.output.lanes, "", head + body)
    value = """\
int32_t t = table[i];
                float v = p[t < 0 ? 0 : t];
                v = t < 0 ? 0.0f : v;
"""
    if kernel.output.dtype == FP32:
        body = f"""\
        for (int32_t i = 0; i < {elems}; i++) q[i] = 0.0f;
        for (int32_t k = 0; k < {kernel.window}; k++) {{
            const int32_t *restrict table = a->table + (size_t)k * {elems};
            for (int32_t i = 0; i < {elems}; i++) {{
                {value}\
                q[i] += v;
            }}
        }}
        for (int32_t i = 0; i < {elems}; i++) q[i] *= scale[i];
"""
    else:
        body = f"""\
        for (int32_t i = 0; i < {elems}; i++) {{
            const int32_t *restrict table = a->table;
            float sum = 0.0f;
            for (int32_t k = 0; k < {kernel.window}; k++, table += {elems}) {{
                {value}\
                sum += v;
            }}
            q[i] = sum * scale[i];
        }}
"""
    return walk(kernel, kernel.output.lanes, "", head + body)


def render_global_average(kernel: GlobalAverageKernel) -> str:
    """Return the C file of the mean or the sum of each plane; the surplus lanes of the blocks are zero and add nothing.

    What is dense is added up by vectors that may be several registers.
    """
    src, out, (read, written) = kernel.source, kernel.output, _types(kernel)
    helpers, lanes = (UNALIGNED, _DENSE_LANES) if src.planar else ("", src.lanes)
    pixels, own = src.height * src.width, lanes // src.images
    vector, load = widened(src.dtype, f"LD(p + (y * {src.row_vectors} + x) * LANES)")
    sums = f"""\
        for (int y = 0; y < {src.block_h}; y++)
            for (int x = 0; x < {src.block_w}; x++) sum += {load};
"""
    rest = ""
    if src.planar:
        whole = pixels // _DENSE_LANES * _DENSE_LANES
        sums = f"        for (int i = 0; i < {whole}; i += LANES) sum += LDU(p + i);\n"
        rest = f"            for (int i = {whole}; i < {pixels}; i++) total += p[i];\n"
    body = f"""\
        const {read} *p = in + (size_t)c * {src.plane_elems} + {src.base_elems};
        {written} *o = out + (size_t)c * {out.plane_elems};
        {vector} sum = {{0}};
{sums}\
        memset(o, 0, sizeof({written}) * {out.plane_elems});
        for (int image = 0; image < {src.images}; image++) {{
            float total = 0;
            for (int i = 0; i < {own}; i++) total += sum[image * {own} + i];
{rest}\
            o[{out.base_elems} + image * {own}] = total / {kernel.divisor};
        }}
"""
    return walk(kernel, lanes, helpers, body, src.dtype)


def render_pool(kernel: PoolKernel) -> str:
    """Return the C file of pooling lane by lane."""
    src, out, (read, written) = kernel.source, kernel.output, _types(kernel)
    taps = [(y, x) for y in range(kernel.size[0]) for x in range(kernel.size[1])]
    loads = [f"LD(p + ({src.vector(y - kernel.pads[0], x - kernel.pads[1]) * src.lanes}))" for y, x in taps]
    value = loads[0]
    for load in loads[1:]:
        value = f"VMAX({value}, {load})" if kernel.kind == "max" else f"{value} + {load}"
    if kernel.kind == "average":
        value = f"({value}) * SPLAT(1.0f / {len(taps)})"
    sy, sx = kernel.stride
    body = f"""\
        const {read} *origin = in + (size_t)c * {src.plane_elems} + {src.base_elems};
        {written} *o = out + (size_t)c * {out.plane_elems} + {out.base_elems};
        for (int y = 0; y < {out.block_h}; y++)
            for (int x = 0; x < {out.block_w}; x++) {{
                const {read} *p = origin + (y * {sy * src.row_vectors} + x * {sx}) * LANES;
                vf v = {value};
                {apply_mask(out, "v", "y", "x")}
                ST(o + (y * {out.row_vectors} + x) * LANES, v);
            }}
{fill(out)}"""
    return walk(kernel, out.lanes, masks(out) + halo(out), body, out.dtype)


def render_elementwise(kernel: ElementwiseKernel) -> str:
    """Return the C file of an element-wise operator."""
    out, (read, written) = kernel.output, _types(kernel)
    exp = needs_exp(kernel.activation.kind)
    planar = out.planar
    scale = "a->scale[c]" if planar else "SPLAT(a->scale[c])"
    value = {
        "add": "x + y",
        "sub": "x - y",
        "mul": "x * y",
        "div": "x / y",
        "keep": "y != 0 ? x : 0" if planar else "(vf)((y != (vf){0}) & (vi)x)",
        "max": "y > x ? y : x" if planar else "VMAX(x, y)",
        "min": "y < x ? y : x" if planar else "VMIN(x, y)",
        "copy": "x",
        "affine": f"x * {scale} + {scale.replace('scale', 'shift')}",
        "prelu": f"x < 0 ? x * {scale} : x"
        if planar
        else f"VMAX(x, (vf){{0}}) + {scale} * VMIN(x, (vf){{0}})",
    }[kernel.op]
    second, other_at = len(kernel.sources) == 2, kernel.sources[-1]
    plane = "" if kernel.other in ("pixel", "one") else f"(size_t)c * {other_at.plane_elems} + "
    once = ""
    if kernel.other in ("plane", "one"):
        place = f"other + {plane}{other_at.base_elems}"
        once = f"        const float one = *({place});\n" if planar else _splat_once(other_at, place)
    if planar:
        other = f"float y = {'one' if once else f'other[{plane}i]'};" if second else ""
        body = f"""\
{once}\
        for (int32_t i = 0; i < {out.plane_elems}; i++) {{
            float x = in[(size_t)c * {out.plane_elems} + i];
            {other}
            float v = {value};
            {apply_scalar(kernel.activation, "v")}
            out[(size_t)c * {out.plane_elems} + i] = v;
        }}
"""
        return walk(kernel, 4, "", body, exp=exp)
    first = kernel.sources[0]
    each = "one" if once else f"LD(q + (r * {other_at.row_vectors} + s) * LANES)"
    other = f"vf y = {each};" if second else ""
    body = f"""\
        const {read} *p = in + (size_t)c * {first.plane_elems} + {first.base_elems};
        const {read} *q = other + {plane}{other_at.base_elems};
        {written} *o = out + (size_t)c * {out.plane_elems} + {out.base_elems};
{once}\
        (void)q;
        for (int r = 0; r < {out.block_h}; r++)
            for (int s = 0; s < {out.block_w}; s++) {{
                vf x = LD(p + (r * {first.row_vectors} + s) * LANES);
                {other}
                vf v = {value};
                {apply_vector(kernel.activation, "v")}
                {apply_mask(out, "v", "r", "s")}
                ST(o + (r * {out.row_vectors} + s) * LANES, v);
            }}
{fill(out)}"""
    return walk(kernel, out.lanes, masks(out) + halo(out), body, out.dtype, exp)


def _splat_once(layout: Layout, place: str) -> str:
    """Return the statement that gives all lanes the one element of a plane, or those of each image its own."""
    value = f"SPLAT(*({place}))"
    if layout.images > 1:
        own = layout.image_lanes
        picks = ", ".join(str(lane // own * own) for lane in range(layout.lanes))
        value = f"__builtin_shufflevector(LD({place}), LD({place}), {picks})"
    return f"        const vf one = {value};\n"


def render_constant(kernel: ConstantKernel) -> str:
    """Return the C file of the copy of a constant."""
    return f"""\
/* {kernel.name} */
{prelude(kernel.output.lanes)}{ARGS}\
{signature(kernel)} {{
    const plane_args *a = args;
    (void)in, (void)other, (void)begin, (void)end;
    memcpy(out, a->value, {kernel.output.plane_bytes} * (size_t)a->planes);
}}
"""


def render_arg_max(kernel: ArgMaxKernel) -> str:
    """Return the C file of the channel in which each position is largest; tasks are rows of the block."""
    src, out, (read, written) = kernel.source, kernel.output, _types(kernel)
    vector = "float" if out.planar else "vf"
    load, larger = ("*", "x > top ? x : top") if out.planar else ("LD", "(vf)((m & (vi)x) | (~m & (vi)top))")
    place = "m ? at : v" if out.planar else "(vf)((m & (vi)SPLAT(at)) | (~m & (vi)v))"
    store = "o[{0}] = v;" if out.planar else "ST(o + ({0}) * LANES, v);"
    return f"""\
/* {kernel.name} */
{prelude(out.lanes, out.dtype)}{ARGS}{masks(out)}{halo(out)}\
{signature(kernel)} {{
    const plane_args *a = args;
    {written} *o = out + {out.base_elems};
    int32_t from = (int32_t)((int64_t){out.block_h} * begin / a->tasks);
    int32_t to = (int32_t)((int64_t){out.block_h} * end / a->tasks);
    (void)other;
    for (int32_t r = from; r < to; r++)
        for (int32_t s = 0; s < {out.block_w}; s++) {{
            const {read} *p = in + {src.base_elems} + (r * {src.row_vectors} + s) * {out.lanes};
            {vector} top = {load}(p), v = {{0}};
            for (int32_t c = 1; c < a->planes; c++) {{
                float at = (float)c;
                {vector} x = {load}(p + (size_t)c * {src.plane_elems});
                {"int" if out.planar else "vi"} m = x > top;
                top = {larger};
                v = {place};
            }}
            {apply_mask(out, "v", "r", "s")}
            {store.format(f"r * {out.row_vectors} + s")}
        }}
{fill(out)}}}
"""


def fill(layout: Layout) -> str:
    """Return the statement that fills the halo of a whole plane at `o`."""
    return "        fill_halo(o);\n" if has_halo(layout) else ""
