/* f32_conv3x3s1_p3x4_g2_add_relu_1x3_v4
   3x3 convolution, stride (1, 1), 3 pattern(s) of 4 taps, 2 filter(s) at a time,
   output 3x6 as 2x2 blocks of 2x3, tile 1x3 vectors. */
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
static const vi ROW_MASK[2] = {{-1, -1, -1, -1}, {-1, -1, 0, 0}};
static const uint16_t TILES[2][3] = {
    {0, 0, 0},
    {1, 0, 0}};
static __attribute__((noinline)) void tile_1x3(const float *restrict in, const float *restrict add,
        float *restrict out, const float *next, const conv_args *a, int32_t first, int32_t last, int y0, int x0) {
    (void)add, (void)next;
    for (int32_t group = first; group < last; group++) {
        const float *w = a->weight + (size_t)a->offset[group] * 8;
        const uint16_t *index = a->index + a->offset[group];
        const uint16_t *run = a->run + (size_t)group * 3;
        vf b0 = SPLAT(a->bias[group * 2 + 0]), a0_0 = b0, a0_1 = b0, a0_2 = b0;
        vf b1 = SPLAT(a->bias[group * 2 + 1]), a1_0 = b1, a1_1 = b1, a1_2 = b1;
        { /* 010/111/000 */
            int32_t n = *run++;
            if (n) do {
                { const float *k = in + (size_t)*index++ * 80;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 4), x1 = LD(p + 8); a0_0 += x0 * LANE(w0, 0); a1_0 += x0 * LANE(w0, 1); a0_1 += x1 * LANE(w0, 0); a1_1 += x1 * LANE(w0, 1); }
                { vf x0 = LD(p + 12); a0_2 += x0 * LANE(w0, 0); a1_2 += x0 * LANE(w0, 1); }
                vf w1 = LD(w + 4);
                { vf x0 = LD(p + 20), x1 = LD(p + 24); a0_0 += x0 * LANE(w0, 2); a1_0 += x0 * LANE(w0, 3); a0_0 += x1 * LANE(w1, 0); a1_0 += x1 * LANE(w1, 1); a0_1 += x1 * LANE(w0, 2); a1_1 += x1 * LANE(w0, 3); }
                { vf x0 = LD(p + 28), x1 = LD(p + 32); a0_0 += x0 * LANE(w1, 2); a1_0 += x0 * LANE(w1, 3); a0_1 += x0 * LANE(w1, 0); a1_1 += x0 * LANE(w1, 1); a0_2 += x0 * LANE(w0, 2); a1_2 += x0 * LANE(w0, 3); a0_1 += x1 * LANE(w1, 2); a1_1 += x1 * LANE(w1, 3); a0_2 += x1 * LANE(w1, 0); a1_2 += x1 * LANE(w1, 1); }
                { vf x0 = LD(p + 36); a0_2 += x0 * LANE(w1, 2); a1_2 += x0 * LANE(w1, 3); }
                }
                }
            w += 8; HIDE(w); HIDE(index); } while (--n);
        }
        { /* 010/110/010 */
            int32_t n = *run++;
            if (n) do {
                { const float *k = in + (size_t)*index++ * 80;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 4), x1 = LD(p + 8); a0_0 += x0 * LANE(w0, 0); a1_0 += x0 * LANE(w0, 1); a0_1 += x1 * LANE(w0, 0); a1_1 += x1 * LANE(w0, 1); }
                { vf x0 = LD(p + 12); a0_2 += x0 * LANE(w0, 0); a1_2 += x0 * LANE(w0, 1); }
                vf w1 = LD(w + 4);
                { vf x0 = LD(p + 20), x1 = LD(p + 24); a0_0 += x0 * LANE(w0, 2); a1_0 += x0 * LANE(w0, 3); a0_0 += x1 * LANE(w1, 0); a1_0 += x1 * LANE(w1, 1); a0_1 += x1 * LANE(w0, 2); a1_1 += x1 * LANE(w0, 3); }
                { vf x0 = LD(p + 28), x1 = LD(p + 32); a0_1 += x0 * LANE(w1, 0); a1_1 += x0 * LANE(w1, 1); a0_2 += x0 * LANE(w0, 2); a1_2 += x0 * LANE(w0, 3); a0_2 += x1 * LANE(w1, 0); a1_2 += x1 * LANE(w1, 1); }
                { vf x0 = LD(p + 44), x1 = LD(p + 48); a0_0 += x0 * LANE(w1, 2); a1_0 += x0 * LANE(w1, 3); a0_1 += x1 * LANE(w1, 2); a1_1 += x1 * LANE(w1, 3); }
                { vf x0 = LD(p + 52); a0_2 += x0 * LANE(w1, 2); a1_2 += x0 * LANE(w1, 3); }
                }
                }
            w += 8; HIDE(w); HIDE(index); } while (--n);
        }
        { /* 000/111/010 */
            int32_t n = *run++;
            if (n) do {
                { const float *k = in + (size_t)*index++ * 80;
                { const float *p = k;
                vf w0 = LD(w + 0);
                { vf x0 = LD(p + 20), x1 = LD(p + 24); a0_0 += x0 * LANE(w0, 0); a1_0 += x0 * LANE(w0, 1); a0_0 += x1 * LANE(w0, 2); a1_0 += x1 * LANE(w0, 3); a0_1 += x1 * LANE(w0, 0); a1_1 += x1 * LANE(w0, 1); }
                vf w1 = LD(w + 4);
                { vf x0 = LD(p + 28), x1 = LD(p + 32); a0_0 += x0 * LANE(w1, 0); a1_0 += x0 * LANE(w1, 1); a0_1 += x0 * LANE(w0, 2); a1_1 += x0 * LANE(w0, 3); a0_2 += x0 * LANE(w0, 0); a1_2 += x0 * LANE(w0, 1); a0_1 += x1 * LANE(w1, 0); a1_1 += x1 * LANE(w1, 1); a0_2 += x1 * LANE(w0, 2); a1_2 += x1 * LANE(w0, 3); }
                { vf x0 = LD(p + 36); a0_2 += x0 * LANE(w1, 0); a1_2 += x0 * LANE(w1, 1); }
                { vf x0 = LD(p + 44), x1 = LD(p + 48); a0_0 += x0 * LANE(w1, 2); a1_0 += x0 * LANE(w1, 3); a0_1 += x1 * LANE(w1, 2); a1_1 += x1 * LANE(w1, 3); }
                { vf x0 = LD(p + 52); a0_2 += x0 * LANE(w1, 2); a1_2 += x0 * LANE(w1, 3); }
                }
                }
            w += 8; HIDE(w); HIDE(index); } while (--n);
        }
        if (a->order[group * 2 + 0] < a->planes) {
            size_t plane = a->order[group * 2 + 0];
            float *o = out + plane * 48;
            const float *r = o + (y0 * 3 + x0) * LANES;
            a0_0 += LD(r + 0); a0_0 = VMAX(a0_0, (vf){0}); a0_0 = (vf)((vi)a0_0 & ROW_MASK[y0 + 0]); ST(o + ((y0 + 0) * 3 + x0 + 0) * LANES, a0_0);
            a0_1 += LD(r + 4); a0_1 = VMAX(a0_1, (vf){0}); a0_1 = (vf)((vi)a0_1 & ROW_MASK[y0 + 0]); ST(o + ((y0 + 0) * 3 + x0 + 1) * LANES, a0_1);
            a0_2 += LD(r + 8); a0_2 = VMAX(a0_2, (vf){0}); a0_2 = (vf)((vi)a0_2 & ROW_MASK[y0 + 0]); ST(o + ((y0 + 0) * 3 + x0 + 2) * LANES, a0_2);
        }
        if (a->order[group * 2 + 1] < a->planes) {
            size_t plane = a->order[group * 2 + 1];
            float *o = out + plane * 48;
            const float *r = o + (y0 * 3 + x0) * LANES;
            a1_0 += LD(r + 0); a1_0 = VMAX(a1_0, (vf){0}); a1_0 = (vf)((vi)a1_0 & ROW_MASK[y0 + 0]); ST(o + ((y0 + 0) * 3 + x0 + 0) * LANES, a1_0);
            a1_1 += LD(r + 4); a1_1 = VMAX(a1_1, (vf){0}); a1_1 = (vf)((vi)a1_1 & ROW_MASK[y0 + 0]); ST(o + ((y0 + 0) * 3 + x0 + 1) * LANES, a1_1);
            a1_2 += LD(r + 8); a1_2 = VMAX(a1_2, (vf){0}); a1_2 = (vf)((vi)a1_2 & ROW_MASK[y0 + 0]); ST(o + ((y0 + 0) * 3 + x0 + 2) * LANES, a1_2);
        }
    }
}
void f32_conv3x3s1_p3x4_g2_add_relu_1x3_v4(const float *in, const float *add, float *out, const void *args, int32_t begin, int32_t end) {
    const conv_args *a = args;
    for (int32_t task = begin; task < end; task++) {
        const uint16_t *tile = TILES[task / a->parts % 2];
        int64_t part = task % a->parts;
        int32_t first = (int32_t)(a->groups * part / a->parts), last = (int32_t)(a->groups * (part + 1) / a->parts);
        int y = tile[0], x = tile[1];
        const uint16_t *after = tile;
        const float *src = in + (0) + (tile[0] * 5 + tile[1] * 1) * LANES;
        const float *next = in + (0) + (after[0] * 5 + after[1] * 1) * LANES;
        const float *skip = 0;
        float *dst = out + 0;
        switch (tile[2]) {
        case 0: tile_1x3(src, skip, dst, next, a, first, last, y / 1, x / 1); break;
        }
    }
}
