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
/* {kernel.name}: {kernel.rows} outputs at a time. */
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
    unroll, each = max(1, 8 // (kernel.vectors * kernel.streams)), range(streams)
    text = "".join(_begin(kernel, s, unroll) for s in each) + "        int32_t k = 0;\n"
    if streams > 1:
        text += _side_by_side(kernel, streams, unroll)
    return text + "".join(_rest(kernel, s, unroll) + _end(kernel, s, unroll) for s in each)


def _begin(kernel: GemmKernel, s: int, unroll: int) -> str:
    """Declare unit `s`, its weights, how many inputs it has, which, and its accumulators."""
    text = f"        const int32_t unit{s} = unit{f' + {s} * apart' if s else ''};\n"
    first, count = f"(size_t)unit{s} * a->features", "a->features"
    index = ""
    if kernel.sparse:
        first, count = f"a->offset[unit{s}]", f"(int32_t)(a->offset[unit{s} + 1] - a->offset[unit{s}])"
        index = f"        const uint{kernel.index_bits}_t *index{s} = a->index + {first};\n"
    text += (
        f"        const {ctype(kernel.dtype)} *w{s} = a->weight + (size_t){first} * {kernel.rows};\n{index}"
    )
    text += f"        const int32_t count{s} = {count};\n"
    names = (_acc(s, v, u) for v in range(kernel.vectors) for u in range(unroll))
    return text + f"        vf {', '.join(f'{name} = {{0}}' for name in names)};\n"


def _side_by_side(kernel: GemmKernel, streams: int, unroll: int) -> str:
    """Return the loop over the inputs that all units have, so many of each at a time."""
    each = range(streams)
    text = "        int32_t all = count0;\n"
    for s in each[1:]:
        text += f"        all = count{s} < all ? count{s} : all;\n"
    moves = ", ".join(f"w{s} += {unroll * kernel.rows}" for s in each)
    text += f"        for (; k + {unroll} <= all; k += {unroll}, {moves}) {{\n"
    for u, s in product(range(unroll), each):
        text += f"            {_input(kernel, s, 'k', u, fetch=True)}\n"
    return text + "        }\n"


def _rest(kernel: GemmKernel, s: int, unroll: int) -> str:
    """Return the loops over what inputs of unit `s` are left."""
    rows, k = kernel.rows, f"k{s}"
    text = f"        int32_t {k} = k;\n"
    text += f"        for (; {k} + {unroll} <= count{s}; {k} += {unroll}, w{s} += {unroll * rows}) {{\n"
    text += "".join(f"            {_input(kernel, s, k, u)}\n" for u in range(unroll))
    text += "        }\n"
    return text + f"        for (; {k} < count{s}; {k}++, w{s} += {rows}) {_input(kernel, s, k, 0)}\n"


def _end(kernel: GemmKernel, s: int, unroll: int) -> str:
    """Return what adds up the accumulators of unit `s`, and stores those of its outputs that exist."""
    rows = kernel.rows
    text = f"        float result{s}[{rows}] __attribute__((aligned(64)));\n"
    for v in range(kernel.vectors):
        total, at = " + ".join(_acc(s, v, u) for u in range(unroll)), v * kernel.lanes
        text += (
            f"        {{ vf y = {total} + *(const vf *)(a->bias + unit{s} * {rows} + {at}); "
            f"{apply_vector(kernel.activation, 'y')} *(vf *)(result{s} + {at}) = y; }}\n"
        )
    return text + (
        f"        const int32_t left{s} = a->outputs - unit{s} * {rows};\n"
        f"        memcpy(out + (size_t)unit{s} * {rows}, result{s}, "
        f"sizeof(float) * (size_t)(left{s} < {rows} ? left{s} : {rows}));\n"
    )


def _acc(s: int, v: int, u: int) -> str:
    """Name an accumulator of unit `s`."""
    return f"a{s}_{v}_{u}"


def _input(kernel: GemmKernel, s: int, k: str, u: int, fetch: bool = False) -> str:
    """Return what adds input k + u, times its weights in all rows of unit `s`, and fetches what is to come."""
    rows = kernel.rows
    source = f"index{s}[{k} + {u}]" if kernel.sparse else f"{k} + {u}"
    ahead = f" {prefetch_weights(kernel.dtype, rows, u, f'w{s}', stream=True)}" if fetch else ""
    adds = " ".join(
        f"{_acc(s, v, u)} += x * LD(w{s} + {u * rows + v * kernel.lanes});" for v in range(kernel.vectors)
    )
    return f"{{ vf x = SPLAT(in[{source}]);{ahead} {adds} }}"
