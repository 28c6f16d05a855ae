"""Fully connected: every weight is read once; `vectors` x `unroll` accumulators hide the FMA's latency."""

from pconv.codegen.c.activation import apply_vector
from pconv.codegen.c.prelude import ctype, needs_exp, prefetch_weights, prelude
from pconv.lower.kernels import GemmKernel
from pconv.targets.dtype import FP16_FP32ACC, FP32

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
    vectors = kernel.vectors
    summed = FP32 if kernel.dtype == FP32 else FP16_FP32ACC
    unroll = max(1, 8 // vectors)
    rows = vectors * kernel.lanes
    accs = [[f"a{v}_{u}" for u in range(unroll)] for v in range(vectors)]
    declare = "        vf " + ", ".join(f"{a} = {{0}}" for row in accs for a in row) + ";\n"

    def step(u: int) -> str:
        source = f"index[k + {u}]" if kernel.sparse else f"k + {u}"
        adds = " ".join(
            f"{accs[v][u]} += x * LD(w + {(u * vectors + v) * kernel.lanes});" for v in range(vectors)
        )
        ahead = prefetch_weights(kernel.dtype, rows, u, stream=True)
        fetch = f" {ahead}" if kernel.prefetch else ""
        return f"            {{ vf x = SPLAT(in[{source}]);{fetch} {adds} }}\n"

    body = "".join(step(u) for u in range(unroll))
    tail_source = "index[k]" if kernel.sparse else "k"
    tail = " ".join(f"{accs[v][0]} += x * LD(w + {v * kernel.lanes});" for v in range(vectors))
    finish = ""
    for v in range(vectors):
        total = " + ".join(accs[v])
        finish += (
            f"        {{ vf y = {total} + *(const vf *)(a->bias + unit * {rows} + {v * kernel.lanes}); "
            f"{apply_vector(kernel.activation, 'y')} *(vf *)(result + {v * kernel.lanes}) = y; }}\n"
        )
    if kernel.sparse:
        span = f"""\
        const {ctype(kernel.dtype)} *w = a->weight + (size_t)a->offset[unit] * {rows};
        const uint{kernel.index_bits}_t *index = a->index + a->offset[unit];
        int32_t count = (int32_t)(a->offset[unit + 1] - a->offset[unit]);
"""
    else:
        span = f"""\
        const {ctype(kernel.dtype)} *w = a->weight + (size_t)unit * a->features * {rows};
        int32_t count = a->features;
"""
    return f"""\
/* {kernel.name}: {rows} outputs at a time. */
{prelude(kernel.lanes, summed, needs_exp(kernel.activation.kind))}\
{ARGS.format(index=f"uint{kernel.index_bits}_t", weight=ctype(kernel.dtype))}\
{signature(kernel)} {{
    const gemm_args *a = args;
    int32_t first = (int32_t)((int64_t)a->units * begin / a->tasks);
    int32_t last = (int32_t)((int64_t)a->units * end / a->tasks);
    for (int32_t unit = first; unit < last; unit++) {{
{span}{declare}\
        int32_t k = 0;
        for (; k + {unroll} <= count; k += {unroll}, w += {unroll * rows}) {{
{body}        }}
        for (; k < count; k++, w += {rows}) {{ vf x = SPLAT(in[{tail_source}]); {tail} }}
        float result[{rows}] __attribute__((aligned(64)));
{finish}\
        int32_t left = a->outputs - unit * {rows};
        memcpy(out + (size_t)unit * {rows}, result, sizeof(float) * (size_t)(left < {rows} ? left : {rows}));
    }}
}}
"""
