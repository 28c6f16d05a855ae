"""The head of every generated file: one vector type and the few operations the micro-kernels use.

The same text serves AVX-512, AVX2 and NEON, floats and halves: only LANES, the type of a lane and how it is loaded
and stored differ. clang and gcc (12 and later) both take it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pconv.lower.layout import LINE_BYTES
from pconv.targets.dtype import FP32, DType

_VECTOR = """\
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FN static inline __attribute__((unused))
#define LANES {lanes}
typedef {real} vf __attribute__((vector_size({bytes} * LANES), may_alias));
typedef {integer} vi __attribute__((vector_size({bytes} * LANES), may_alias));
{memory}{wide}#define SPLAT(s) ({cast}(s) - (vf){{0}})
#define LANE(v, i) __builtin_shufflevector(v, v{index})
#define HIDE(p) __asm__("" : "+r"(p)) /* a pointer of its own, not one with an offset */
#if defined(__aarch64__) && __has_builtin(__builtin_elementwise_maximum)
#define VMAX(a, b) __builtin_elementwise_maximum(a, b)
#define VMIN(a, b) __builtin_elementwise_minimum(a, b)
#else /* an instruction each, as `a` stays where it is not a number */
FN vf VMAX(vf a, vf b) {{ vi m = b > a; return (vf)((m & (vi)b) | (~m & (vi)a)); }}
FN vf VMIN(vf a, vf b) {{ vi m = b < a; return (vf)((m & (vi)b) | (~m & (vi)a)); }}
#endif
"""

_PLAIN = """\
#define LD(p) (*(const vf *)(p))
#define ST(p, v) (*(vf *)(p) = (v))
"""
_CONVERTING = """\
typedef {stored} vs __attribute__((vector_size({bytes} * LANES), may_alias)); /* as memory holds them */
#define LD(p) __builtin_convertvector(*(const vs *)(p), vf)
#define ST(p, v) (*(vs *)(p) = __builtin_convertvector(v, vs))
"""
_WIDE = """\
typedef float wf __attribute__((vector_size(4 * LANES), may_alias)); /* sums of many */
#define WIDE(v) __builtin_convertvector(v, wf)
#define NARROW(v) __builtin_convertvector(v, vf)
"""

UNALIGNED = """\
typedef float uf __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* floats that lie anywhere */
#define LDU(p) (*(const uf *)(p))
#define STU(p, v) (*(uf *)(p) = (v))
"""

_TYPES = {"float32": "float", "float16": "_Float16"}

_EXP = """\
/* exp by a polynomial on [-ln2/2, ln2/2] and the exponent's bits: within 2 ulp from -87 to 88, no libm. */
FN float exp_f32(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } scale = {((int32_t)n + 127) << 23};
    return p * scale.f;
}
/* Beyond that too, until floats end: sums and gates need no more than the above. */
FN float full_exp_f32(float x) {
    const float nearer = x > 88.0f ? -64.0f : x < -87.0f ? 64.0f : 0.0f;
    return exp_f32(x + nearer) * (x > 88.0f ? 6.23514908e27f : x < -87.0f ? 1.60381089e-28f : 1.0f);
}
FN float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }
FN float tanh_f32(float x) {
    float a = x < 0 ? -x : x, s = x * x;
    float near = x + x * s * (((((-5.70498872745e-3f * s + 2.06390887954e-2f) * s - 5.37397155531e-2f) * s
                                + 1.33314422036e-1f) * s - 3.33332819422e-1f));
    float t = 1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f);
    return a < 0.625f ? near : x < 0 ? -t : t;
}
FN float sqrt_f32(float x) { return __builtin_sqrtf(x); }
/* log by the series of atanh on [sqrt 1/2, sqrt 2] and the exponent: within 2 ulp. */
FN float log_f32(float x) {
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x;
    union { float f; int32_t i; } m = {scaled};
    int32_t e = (m.i - 0x3f3504f3) >> 23;
    m.i -= e * 8388608;
    float n = (float)(x < 1.17549435e-38f ? e - 23 : e), r = (m.f - 1.0f) / (m.f + 1.0f), s = r * r;
    float l = (((1.1111111e-1f * s + 1.4285714e-1f) * s + 0.2f) * s + 3.3333333e-1f) * s;
    float y = n * 0.693359375f + (n * -2.12194440e-4f + 2.0f * (r + r * l));
    return x > 0 ? (x > 3.4028234e38f ? x : y) : x == 0 ? -__builtin_inff() : __builtin_nanf("");
}
FN float silu_f32(float x) { return x * sigmoid_f32(x); }
/* erf as Abramowitz and Stegun 7.1.26, within 1.5e-7. */
FN float erf_f32(float x) {
    float a = x < 0 ? -x : x, t = 1.0f / (1.0f + 0.3275911f * a);
    float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    float y = 1.0f - p * exp_f32(-a * a);
    return x < 0 ? -y : y;
}
/* x * Phi(x) = max(x, 0) - a * Phi(-a) of a = |x|, with Phi(-a) = 2^-b, b a polynomial in a that reaches 127 at last:
   within 2e-7 of max(x, 1), and of itself where x is above 0. */
FN float gelu_f32(float x) {
    float a = x < 0 ? -x : x;
    a = a > 11.655f ? 11.655f : a;
    float b = 1.85026678e-8f;
    b = b * a - 5.98321265e-7f;
    b = b * a + 8.22848233e-6f;
    b = b * a - 6.08792252e-5f;
    b = b * a + 2.27614451e-4f;
    b = b * a + 1.03880237e-4f;
    b = b * a - 7.06750806e-3f;
    b = b * a + 5.25170863e-2f;
    b = b * a + 4.59198594e-1f;
    b = b * a + 1.15110636f;
    b = b * a + 1.0f;
    float n = (b + 12582912.0f) - 12582912.0f, r = b - n;
    float p = -1.32647238e-3f;
    p = p * r + 9.67151858e-3f;
    p = p * r - 5.55073395e-2f;
    p = p * r + 2.40222424e-1f;
    p = p * r - 6.93147004e-1f;
    p = p * r + 1.0f;
    union { int32_t i; float f; } scale = {(127 - (int32_t)n) << 23};
    return (x < 0 ? 0 : x) - a * (p * scale.f);
}
/* The approximation x * (tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)) + 1) / 2 = x * sigmoid(...): below -10 it is 0. */
FN float gelutanh_f32(float x) {
    float y = x < -10.0f ? 0 : x;
    return y * sigmoid_f32(y * (1.59576912f + 7.13548163e-2f * (y * y)));
}
FN float quickgelu_f32(float x) { return x * sigmoid_f32(1.702f * x); }
/* log(1 + exp(x)), the logarithm by the series of atanh, within 1e-7: its argument lies in 1..2. */
FN float softplus_f32(float x) {
    float z = exp_f32(x < 0 ? x : -x), r = z / (2.0f + z), s = r * r;
    float l = ((((9.0909091e-2f * s + 1.1111111e-1f) * s + 1.4285714e-1f) * s + 0.2f) * s + 3.3333333e-1f) * s + 1.0f;
    return 2.0f * r * l + (x > 0 ? x : 0);
}
/* A function of floats on every lane; compilers make vectors of it again. */
#define EACH(function, v) \\
    do { \\
        __typeof__((v)[0]) each[LANES]; \\
        memcpy(each, &v, sizeof each); \\
        for (int i = 0; i < LANES; i++) each[i] = (__typeof__((v)[0]))function(each[i]); \\
        memcpy(&v, each, sizeof each); \\
    } while (0)
"""


WEIGHTS_AHEAD = 1024
"""Bytes between the weights in use and those that are fetched to L1: what a core uses up while L3 answers."""
STREAM_AHEAD = 16384
"""The same to L2 where weights are read once, from memory: so far ahead that a core waits for its bandwidth alone."""


def ctype(dtype: DType) -> str:
    """Spell the type of what memory holds."""
    return _TYPES[dtype.stored]


def prelude(lanes: int, dtype: DType = FP32, transcendental: bool = False) -> str:
    """Return the head of a file whose vectors have `lanes` numbers (at least 4, for what is not vectorised)."""
    lanes, real = max(lanes, 4), _TYPES[dtype.computed]
    text = _VECTOR.format(
        lanes=lanes,
        index=", i" * lanes,
        real=real,
        integer=f"int{8 * dtype.computed_bytes}_t",
        bytes=dtype.computed_bytes,
        memory=_CONVERTING.format(stored=ctype(dtype), bytes=dtype.elem_bytes) if dtype.converts else _PLAIN,
        wide="" if dtype.computed == "float32" else _WIDE,
        cast="" if dtype == FP32 else f"({real})",
    )
    return text + (_EXP if transcendental else "")


def widened(dtype: DType, vector: str) -> tuple[str, str]:
    """Return the type of a vector of floats, and an expression of it: what sums of many are kept in."""
    return ("vf", vector) if dtype.computed == "float32" else ("wf", f"WIDE({vector})")


def over_lanes(name: str, combine: str, lanes: int) -> str:
    """Return the function that combines all lanes of a vector; all of its result are that."""
    text = f"FN vf {name}(vf v) {{\n"
    half = lanes // 2
    while half:
        order = ", ".join(str(i ^ half) for i in range(lanes))
        text += f"    v = {combine.format('v', f'__builtin_shufflevector(v, v, {order})')};\n"
        half //= 2
    return f"{text}    return v;\n}}\n"


def needs_exp(kind: str) -> bool:
    """Tell whether an activation is a function of floats."""
    gated = ("silu", "gelu", "gelutanh", "quickgelu")
    smooth = ("tanh", "sigmoid", "elu", "erf", "softplus", "exp", "sqrt", "log")
    return kind in (*gated, *smooth, "floor", "round", "trunc")


def prefetch_weights(dtype: DType, count: int, step: int = 0, w: str = "w", stream: bool = False) -> str:
    """Return the statements that fetch, ahead of the weights at `w`, the `count` of a step after some others."""
    ahead, level = (STREAM_AHEAD, 2) if stream else (WEIGHTS_AHEAD, 3)
    first = ahead // dtype.elem_bytes + step * count
    lines = range(first, first + count, LINE_BYTES // dtype.elem_bytes)
    return " ".join(f"__builtin_prefetch({w} + {at}, 0, {level});" for at in lines)


def number(value: float) -> str:
    """Spell a float constant, in C and OpenCL C."""
    return f"{float(np.float32(value))!r}f"


def table(ctype: str, name: str, values: NDArray[np.integer] | Sequence[Sequence[int]]) -> str:
    """Spell a constant two-dimensional table, a row a line."""
    rows = [", ".join(str(int(v)) for v in row) for row in values]
    body = "},\n    {".join(rows)
    return f"static const {ctype} {name}[{len(rows)}][{len(values[0])}] = {{\n    {{{body}}}}};\n"
