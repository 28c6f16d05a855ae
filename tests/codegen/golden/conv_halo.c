/* f32_conv1x1s1_p1x1_g1_relu_1x2_v4
   1x1 convolution, stride (1, 1), 1 pattern(s) of 1 taps, 1 filter(s) at a time,
   output 4x12 as 2x2 blocks of 2x6, tile 1x2 vectors. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FN static inline __attribute__((unused))
#define LANES 4
typedef float vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES), may_alias));
#define LD(p) (*(const vf *)(p))
#define ST(p, v) (*(vf *)(p) = (v))
#define SPLAT(s) ((s) - (vf){0})
#define LANE(v, i) __builtin_shufflevector(v, v, i, i, i, i)
#define HIDE(p) __asm__("" : "+r"(p)) /* a pointer of its own, not one with an offset */
#if defined(__aarch64__) && __has_builtin(__builtin_elementwise_maximum)
#define VMAX(a, b) __builtin_elementwise_maximum(a, b)
#define VMIN(a, b) __builtin_elementwise_minimum(a, b)
#else /* an instruction each, as `a` stays where it is not a number */
FN vf VMAX(vf a, vf b) { vi m = b > a; return (vf)((m & (vi)b) | (~m & (vi)a)); }
FN vf VMIN(vf a, vf b) { vi m = b < a; return (vf)((m & (vi)b) | (~m & (vi)a)); }
#endif
typedef struct {
    const uint16_t *index;
    const uint32_t *offset;
    const uint16_t *run;
    const uint16_t *order;
    const float *weight;
    const float *bias;
    const uint8_t *shape;
    const uint32_t *slot;
    const uint32_t *lists;
    void *claimed;
    const uint16_t *claims;
    int32_t groups, parts, planes, channels;
} conv_args;
static const uint16_t TILES[6][3] = {
    {0, 0, 0},
    {0, 2, 0},
    {0, 4, 0},
    {1, 0, 0},
    {1, 2, 0},
    {1, 4, 0}};
static __attribute__((noinline)) void tile_1x2(const float *restrict in, const float *restrict add,
        float *restrict out, const float *next, const conv_args *a, int32_t first, int32_t last, int y0, int x0) {
    (void)add, (void)next;
    for (int32_t group = first; group < last; group++) {
        const float *w = a->weight + group * (size_t)a->offset[1] * 1;
        const uint16_t *index = a->index + 0;
        const uint16_t *run = a->run + 0;
        vf b0 = SPLAT(a->bias[group * 1 + 0]), a0_0 = b0, a0_1 = b0;
        { /* 1 */
            int32_t n = *run++;
            uint32_t turns = (uint32_t)n / 4; n %= 4; if (turns) do {
                { const float *k = in + (size_t)index[0] * 48;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 0), x1 = LD(p + 4); a0_0 += x0 * LANE(w0, 0); a0_1 += x1 * LANE(w0, 0); }
                }
                }
                { const float *k = in + (size_t)index[1] * 48;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 0), x1 = LD(p + 4); a0_0 += x0 * LANE(w0, 1); a0_1 += x1 * LANE(w0, 1); }
                }
                }
                { const float *k = in + (size_t)index[2] * 48;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 0), x1 = LD(p + 4); a0_0 += x0 * LANE(w0, 2); a0_1 += x1 * LANE(w0, 2); }
                }
                }
                { const float *k = in + (size_t)index[3] * 48;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 0), x1 = LD(p + 4); a0_0 += x0 * LANE(w0, 3); a0_1 += x1 * LANE(w0, 3); }
                }
                }
            w += 4; index += 4; HIDE(w); HIDE(index); } while (--turns);
            if (n) do {
                { const float *k = in + (size_t)*index++ * 48;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 0), x1 = LD(p + 4); a0_0 += x0 * LANE(w0, 0); a0_1 += x1 * LANE(w0, 0); }
                }
                }
            w += 1; HIDE(w); HIDE(index); } while (--n);
        }
        {
            size_t plane = a->order[group * 1 + 0];
            float *o = out + plane * 240;
            a0_0 = VMAX(a0_0, (vf){0}); ST(o + ((y0 + 0) * 10 + x0 + 0) * LANES, a0_0);
            a0_1 = VMAX(a0_1, (vf){0}); ST(o + ((y0 + 0) * 10 + x0 + 1) * LANES, a0_1);
            float *tile = o + (y0 * 10 + x0) * LANES;
            if (x0 == 4) {
                ST(tile + 0 + (-26) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 4, 4, 4, 0));
                ST(tile + 4 + (-26) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 4, 4, 4, 0));
                ST(tile + 0 + (-6) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 4, 0, 4, 2));
                ST(tile + 4 + (-6) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 4, 0, 4, 2));
                ST(tile + 0 + (14) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 4, 2, 4, 4));
                ST(tile + 4 + (14) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 4, 2, 4, 4));
            }
            ST(tile + 0 + (-20) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 4, 4, 0, 1));
            ST(tile + 4 + (-20) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 4, 4, 0, 1));
            ST(tile + 0 + (20) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 2, 3, 4, 4));
            ST(tile + 4 + (20) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 2, 3, 4, 4));
            if (x0 == 0) {
                ST(tile + 0 + (-14) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 4, 4, 1, 4));
                ST(tile + 4 + (-14) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 4, 4, 1, 4));
                ST(tile + 0 + (6) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 1, 4, 3, 4));
                ST(tile + 4 + (6) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 1, 4, 3, 4));
                ST(tile + 0 + (26) * LANES, __builtin_shufflevector(a0_0, (vf){0}, 3, 4, 4, 4));
                ST(tile + 4 + (26) * LANES, __builtin_shufflevector(a0_1, (vf){0}, 3, 4, 4, 4));
            }
        }
    }
}
void f32_conv1x1s1_p1x1_g1_relu_1x2_v4(const float *in, const float *add, float *out, const void *args, int32_t begin, int32_t end) {
    const conv_args *a = args;
    for (int32_t task = begin; task < end; task++) {
        const uint16_t *tile = TILES[task / a->parts % 6];
        int64_t part = task % a->parts;
        int32_t first = (int32_t)(a->groups * part / a->parts), last = (int32_t)(a->groups * (part + 1) / a->parts);
        int y = tile[0], x = tile[1];
        const uint16_t *after = tile;
        const float *src = in + (0) + (tile[0] * 6 + tile[1] * 1) * LANES;
        const float *next = in + (0) + (after[0] * 6 + after[1] * 1) * LANES;
        const float *skip = 0;
        float *dst = out + 88;
        switch (tile[2]) {
        case 0: tile_1x2(src, skip, dst, next, a, first, last, y / 1, x / 1); break;
        }
    }
}
