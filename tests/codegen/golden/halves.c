/* f16_conv3x3s1_p1x9_g1_clip_1x2_v8
   3x3 convolution, stride (1, 1), 1 pattern(s) of 9 taps, 1 filter(s) at a time,
   output 2x8 as 2x4 blocks of 1x2, tile 1x2 vectors. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FN static inline __attribute__((unused))
#define LANES 8
typedef _Float16 vf __attribute__((vector_size(2 * LANES), may_alias));
typedef int16_t vi __attribute__((vector_size(2 * LANES), may_alias));
#define LD(p) (*(const vf *)(p))
#define ST(p, v) (*(vf *)(p) = (v))
typedef float wf __attribute__((vector_size(4 * LANES), may_alias)); /* sums of many */
#define WIDE(v) __builtin_convertvector(v, wf)
#define NARROW(v) __builtin_convertvector(v, vf)
#define SPLAT(s) ((_Float16)(s) - (vf){0})
#define LANE(v, i) __builtin_shufflevector(v, v, i, i, i, i, i, i, i, i)
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
    const _Float16 *weight;
    const float *bias;
    const uint8_t *shape;
    const uint32_t *slot;
    const uint32_t *lists;
    void *claimed;
    const uint16_t *claims;
    int32_t groups, parts, planes, channels;
} conv_args;
static const uint16_t TILES[1][3] = {
    {0, 0, 0}};
static __attribute__((noinline)) void tile_1x2(const _Float16 *restrict in, const _Float16 *restrict add,
        _Float16 *restrict out, const _Float16 *next, const conv_args *a, int32_t first, int32_t last, int y0, int x0) {
    (void)add, (void)next;
    for (int32_t group = first; group < last; group++) {
        const _Float16 *w = a->weight + group * (size_t)a->offset[1] * 9;
        const uint16_t *index = a->index + 0;
        const uint16_t *run = a->run + 0;
        vf b0 = SPLAT(a->bias[group * 1 + 0]), a0_0 = b0, a0_1 = b0;
        wf kept[2] = {0}, *sums = kept;
        int32_t done = 0;
        HIDE(sums);
        { /* 111/111/111 */
            for (int32_t left = *run++, n; left > 0;) {
                n = left < 28 ? left : 28, left -= n, done += n;
                if (n) do {
                    { const _Float16 *k = in + (size_t)*index++ * 96;
                    { const _Float16 *p = k;
                    vf w0 = LD(w + 0);
                    { vf x0 = LD(p + 0), x1 = LD(p + 8); a0_0 += x0 * LANE(w0, 0); a0_0 += x1 * LANE(w0, 1); a0_1 += x1 * LANE(w0, 0); }
                    { vf x0 = LD(p + 16), x1 = LD(p + 24); a0_0 += x0 * LANE(w0, 2); a0_1 += x0 * LANE(w0, 1); a0_1 += x1 * LANE(w0, 2); }
                    { vf x0 = LD(p + 32), x1 = LD(p + 40); a0_0 += x0 * LANE(w0, 3); a0_0 += x1 * LANE(w0, 4); a0_1 += x1 * LANE(w0, 3); }
                    { vf x0 = LD(p + 48), x1 = LD(p + 56); a0_0 += x0 * LANE(w0, 5); a0_1 += x0 * LANE(w0, 4); a0_1 += x1 * LANE(w0, 5); }
                    { vf x0 = LD(p + 64), x1 = LD(p + 72); a0_0 += x0 * LANE(w0, 6); a0_0 += x1 * LANE(w0, 7); a0_1 += x1 * LANE(w0, 6); }
                    vf w1 = LD(w + 8);
                    { vf x0 = LD(p + 80), x1 = LD(p + 88); a0_0 += x0 * LANE(w1, 0); a0_1 += x0 * LANE(w0, 7); a0_1 += x1 * LANE(w1, 0); }
                    }
                    }
                w += 9; HIDE(w); HIDE(index); } while (--n);
                if (done >= 28) {
                    done = 0;
                    sums[0] += WIDE(a0_0); a0_0 = (vf){0};
                    sums[1] += WIDE(a0_1); a0_1 = (vf){0};
                }
            }
        }
        sums[0] += WIDE(a0_0); a0_0 = (vf){0};
        sums[1] += WIDE(a0_1); a0_1 = (vf){0};
        a0_0 = NARROW(sums[0]); a0_1 = NARROW(sums[1]);
        {
            size_t plane = a->order[group * 1 + 0];
            _Float16 *o = out + plane * 32;
            a0_0 = VMIN(VMAX(a0_0, SPLAT(-0.5f)), SPLAT(1.5f)); ST(o + ((y0 + 0) * 2 + x0 + 0) * LANES, a0_0);
            a0_1 = VMIN(VMAX(a0_1, SPLAT(-0.5f)), SPLAT(1.5f)); ST(o + ((y0 + 0) * 2 + x0 + 1) * LANES, a0_1);
        }
    }
}
void f16_conv3x3s1_p1x9_g1_clip_1x2_v8(const _Float16 *in, const _Float16 *add, _Float16 *out, const void *args, int32_t begin, int32_t end) {
    const conv_args *a = args;
    for (int32_t task = begin; task < end; task++) {
        const uint16_t *tile = TILES[task / a->parts % 1];
        int64_t part = task % a->parts;
        int32_t first = (int32_t)(a->groups * part / a->parts), last = (int32_t)(a->groups * (part + 1) / a->parts);
        int y = tile[0], x = tile[1];
        const uint16_t *after = tile;
        const _Float16 *src = in + (0) + (tile[0] * 4 + tile[1] * 1) * LANES;
        const _Float16 *next = in + (0) + (after[0] * 4 + after[1] * 1) * LANES;
        const _Float16 *skip = 0;
        _Float16 *dst = out + 0;
        switch (tile[2]) {
        case 0: tile_1x2(src, skip, dst, next, a, first, last, y / 1, x / 1); break;
        }
    }
}
