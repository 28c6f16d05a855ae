/* IEEE halves on a host that may have none: round to nearest, ties to even. */
#ifndef PCONV_OPENCL_HALF_H
#define PCONV_OPENCL_HALF_H

#include <stdint.h>

typedef union {
    float f;
    uint32_t u;
} float_bits;

static uint16_t half_of(float value) {
    float_bits x = {value};
    uint32_t sign = x.u >> 16 & 0x8000, rest = x.u & 0x7FFFFFFF;
    if (rest > 0x7F800000) return (uint16_t)(sign | 0x7E00);  /* NaN */
    if (rest >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* too large, or infinite */
    if (rest < 0x38800000) {                                  /* subnormal: let the adder do the rounding */
        float_bits y = {0};
        y.u = rest;
        y.f += 0.5f;
        return (uint16_t)(sign | (y.u - 0x3F000000));
    }
    uint32_t odd = rest >> 13 & 1;
    return (uint16_t)(sign | ((rest - 0x38000000 + 0xFFF + odd) >> 13));
}

static float float_of(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3FF;
    float_bits x;
    if (exponent == 31) x.u = sign | 0x7F800000 | fraction << 13;
    else if (exponent) x.u = sign | (exponent + 112) << 23 | fraction << 13;
    else {
        x.f = (float)fraction * 0x1p-24f;
        x.u |= sign;
    }
    return x.f;
}

#endif
