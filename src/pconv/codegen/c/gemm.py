"""Fully connected: every weight is read once; some 8 accumulators hide the latency of multiply-adds."""

from itertools import product

from pconv.codegen.c.activation import apply_vector
from pconv.codegen.c.prelude import ctype, needs_exp, prefetch_weights, prelude
from pconv.lower.kernels import GemmKernel

ARGS = """\
typedef struct {{
    const {index} *index;
    const uint32_t *offset;
    const {weight} *weight;
    const float *bias;
    int32_t features, outputs, units, tasks;
}} gemm_args;
"""


def signature(kernel: GemmKernel) -> str:
    """Return the function's prototype, without the semicolon."""
    return f"void {kernel.name}(const float *in, float *out, const void *args, int32_t begin, int32_t end)"


def render(kernel: GemmKernel) -> str:
    """Return the C file of a fully connected layer."""
    n = kernel.streams
    several = f"""\
    const int32_t apart = (last - first) / {n};
    for (; unit < first + apart; unit++) {{
{_units(kernel, n)}    }}
    unit += {n - 1} * apart;
"""
    return f"""\
/* {kernel.name}: {kernel.vectors * kernel.lanes} outputs at a time. */
{prelude(kernel.lanes, kernel.dtype.in_floats, needs_exp(kernel.activation.kind))}\
{ARGS.format(index=f"uint{kernel.index_bits}_t", weight=ctype(kernel.dtype))}\
{signature(kernel)} {{
    const gemm_args *a = args;
    const int32_t first = (int32_t)((int64_t)a->units * begin / a->tasks);
    const int32_t last = (int32_t)((int64_t)a->units * end / a->tasks);
    int32_t unit = first;
{several if n > 1 else ""}\
    for (; unit < last; unit++) {{
{_units(kernel, 1)}    }}
}}
"""


def _units(kernel: GemmKernel, streams: int) -> str:
    """Return the work of one unit of rows, or of several that are `apart`, side by side as far as all have inputs.

    Each unit's sums are the same either way, to the last bit.
    """
    rows, each = kernel.vectors * kernel.lanes, range(streams)
    unroll = max(1, 8 // (kernel.vectors * kernel.streams))
    text = ""
    for s in each:
        text += f"        const int32_t unit{s} = unit{f' + {s} * apart' if s else ''};\n"
        start = f"a->offset[unit{s}]" if kernel.sparse else f"(size_t)unit{s} * a->features"
        text += f"        const {ctype(kernel.dtype)} *w{s} = a->weight + (size_t){start} * {rows};\n"
        if kernel.sparse:
            text += f"        const uint{kernel.index_bits}_t *index{s} = a->index + a->offset[unit{s}];\n"
            text += (
                f"        const int32_t count{s} = (int32_t)(a->offset[unit{s} + 1] - a->offset[unit{s}]);\n"
            )
        else:
            text += f"        const int32_t count{s} = a->features;\n"
        names = (_acc(s, v, u) for v in range(kernel.vectors) for u in range(unroll))
        text += f"        vf {', '.join(f'{name} = {{0}}' for name in names)};\n"
    text += "        int32_t k = 0;\n"
    if streams > 1:
        text += "        int32_t all = count0;\n"
        for s in each[1:]:
            text += f"        all = count{s} < all ? count{s} : all;\n"
        moves = ", ".join(f"w{s} += {unroll * rows}" for s in each)
        text += f"        for (; k + {unroll} <= all; k += {unroll}, {moves}) {{\n"
        text += "".join(
            f"            {_input(kernel, s, 'k', u, fetch=True)}\n" for u, s in product(range(unroll), each)
        )
        text += "        }\n"
    for s in each:
        text += f"        int32_t k{s} = k;\n"
        text += f"        for (; k{s} + {unroll} <= count{s}; k{s} += {unroll}, w{s} += {unroll * rows}) {{\n"
        text += "".join(f"            {_input(kernel, s, f'k{s}', u)}\n" for u in range(unroll))
        text += "        }\n"
        text += f"        for (; k{s} < count{s}; k{s}++, w{s} += {rows}) {_input(kernel, s, f'k{s}', 0)}\n"
        text += f"        float result{s}[{rows}] __attribute__((aligned(64)));\n"
        for v in range(kernel.vectors):
            total = " + ".join(_acc(s, v, u) for u in range(unroll))
            text += (
                f"        {{ vf y = {total} + *(const vf *)(a->bias + unit{s} * {rows} + {v * kernel.lanes}); "
                f"{apply_vector(kernel.activation, 'y')} *(vf *)(result{s} + {v * kernel.lanes}) = y; }}\n"
            )
        text += f"        const int32_t left{s} = a->outputs - unit{s} * {rows};\n"
        text += (
            f"        memcpy(out + (size_t)unit{s} * {rows}, result{s}, "
            f"sizeof(float) * (size_t)(left{s} < {rows} ? left{s} : {rows}));\n"
        )
    return text


def _acc(s: int, v: int, u: int) -> str:
    """Name an accumulator of unit `s`."""
    return f"a{s}_{v}_{u}"


def _input(kernel: GemmKernel, s: int, k: str, u: int, fetch: bool = False) -> str:
    """Return what adds input k + u, times its weights in all rows of unit `s`, and fetches what is to come."""
    rows = kernel.vectors * kernel.lanes
    source = f"index{s}[{k} + {u}]" if kernel.sparse else f"{k} + {u}"
    ahead = f" {prefetch_weights(kernel.dtype, rows, u, f'w{s}', stream=True)}" if fetch else ""
    adds = " ".join(
        f"{_acc(s, v, u)} += x * LD(w{s} + {u * rows + v * kernel.lanes});" for v in range(kernel.vectors)
    )
    return f"{{ vf x = SPLAT(in[{source}]);{ahead} {adds} }}"
