"""The head of every generated file: one vector type and the few operations the micro-kernels use.

The same text serves AVX-512, AVX2 and NEON: only LANES differs. clang and gcc (12 and later) both take it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_VECTOR = """\
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES {lanes}
typedef float vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES), may_alias));
#define LD(p) (*(const vf *)(p))
#define ST(p, v) (*(vf *)(p) = (v))
#define SPLAT(s) ((s) - (vf){{0}})
#define LANE(v, i) __builtin_shufflevector(v, v{index})
#define HIDE(p) __asm__("" : "+r"(p)) /* a pointer of its own, not one with an offset */
#if defined(__clang__)
#define VMAX(a, b) __builtin_elementwise_max(a, b)
#define VMIN(a, b) __builtin_elementwise_min(a, b)
#else
static inline vf pick(vi m, vf a, vf b) {{ return (vf)((m & (vi)a) | (~m & (vi)b)); }}
#define VMAX(a, b) pick((a) > (b), a, b)
#define VMIN(a, b) pick((a) < (b), a, b)
#endif
"""

_EXP = """\
/* exp by a polynomial on [-ln2/2, ln2/2] and the exponent's bits: within 2 ulp, no libm. */
static inline float exp_f32(float x) {
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
static inline float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }
static inline float tanh_f32(float x) {
    float a = x < 0 ? -x : x, s = x * x;
    if (a < 0.625f)
        return x + x * s * (((((-5.70498872745e-3f * s + 2.06390887954e-2f) * s - 5.37397155531e-2f) * s
                              + 1.33314422036e-1f) * s - 3.33332819422e-1f));
    float t = 1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f);
    return x < 0 ? -t : t;
}
"""


def prelude(lanes: int, transcendental: bool = False) -> str:
    """Return the head of a file whose vectors have `lanes` floats (at least 4, for what is not vectorised)."""
    lanes = max(lanes, 4)
    text = _VECTOR.format(lanes=lanes, index=", i" * lanes)
    return text + (_EXP if transcendental else "")


def needs_exp(kind: str) -> bool:
    """Tell whether an activation uses the exponential."""
    return kind in ("tanh", "sigmoid")


def number(value: float) -> str:
    """Spell a float constant."""
    text = repr(float(np.float32(value)))
    return f"{text}f"


def table(ctype: str, name: str, values: NDArray[np.integer] | Sequence[Sequence[int]]) -> str:
    """Spell a constant two-dimensional table, a row a line."""
    rows = [", ".join(str(int(v)) for v in row) for row in values]
    body = "},\n    {".join(rows)
    return f"static const {ctype} {name}[{len(rows)}][{len(values[0])}] = {{\n    {{{body}}}}};\n"
