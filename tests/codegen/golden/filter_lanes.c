/* f32_conv1x1s1_p1x1_g4_relu_by3_v4
   1x1 convolution, stride (1, 1), 1 pattern(s) of 1 taps, 4 filter(s) at a time,
   output 1x5 as 1x4 blocks of 1x2, tile 1x2 vectors. */
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
static const vi COL_MASK[2] = {{-1, -1, -1, 0}, {-1, -1, 0, 0}};
static const uint16_t TILES[1][3] = {
    {0, 0, 0}};
/* Each output's first input, in elements from that of vector (0, 0), by vectors and lanes. */
static const int32_t INPUT[1][5] = {
    {0, 1, 2, 4, 5}};
/* The first output of each row of vectors; where the sums of each lane's output lie, in bytes. */
static const uint16_t ROW[1][2] = {
    {0, 5}};
static const uint32_t SUMS[2][4] = {
    {0, 16, 32, 0},
    {48, 64, 48, 48}};
static __attribute__((noinline)) void sum_3(const float *in, const int32_t *at, const float *w,
        const uint16_t *index, const uint16_t *run, const float *bias, vf *sums) {
    const float *p0 = in + at[0];
    const float *p1 = in + at[1];
    const float *p2 = in + at[2];
    vf a0_0 = LD(bias + 0 * LANES), a1_0 = LD(bias + 0 * LANES), a2_0 = LD(bias + 0 * LANES);
    for (int32_t n = *run++; n > 0; n--, w += 4) { /* 1 */
        const size_t k = (size_t)*index++ * 16;
        { const vf w0 = LD(w + 0 + 0 * LANES);
        { const vf x = SPLAT(p0[k + 0]); a0_0 += x * w0; }
        { const vf x = SPLAT(p1[k + 0]); a1_0 += x * w0; }
        { const vf x = SPLAT(p2[k + 0]); a2_0 += x * w0; }
        }
    }
    sums[0] = a0_0; sums[1] = a1_0; sums[2] = a2_0;
}
static __attribute__((noinline)) void sum_2(const float *in, const int32_t *at, const float *w,
        const uint16_t *index, const uint16_t *run, const float *bias, vf *sums) {
    const float *p0 = in + at[0];
    const float *p1 = in + at[1];
    vf a0_0 = LD(bias + 0 * LANES), a1_0 = LD(bias + 0 * LANES);
    for (int32_t n = *run++; n > 0; n--, w += 4) { /* 1 */
        const size_t k = (size_t)*index++ * 16;
        { const vf w0 = LD(w + 0 + 0 * LANES);
        { const vf x = SPLAT(p0[k + 0]); a0_0 += x * w0; }
        { const vf x = SPLAT(p1[k + 0]); a1_0 += x * w0; }
        }
    }
    sums[0] = a0_0; sums[1] = a1_0;
}
static __attribute__((noinline)) void transpose(const vf *sums, const uint32_t *at, vf *done,
        size_t apart) {
    vf x0 = *(const vf *)((const char *)sums + at[0]);
    vf x1 = *(const vf *)((const char *)sums + at[1]);
    vf x2 = *(const vf *)((const char *)sums + at[2]);
    vf x3 = *(const vf *)((const char *)sums + at[3]);
    { const vf low = __builtin_shufflevector(x0, x1, 0, 4, 1, 5); x1 = __builtin_shufflevector(x0, x1, 2, 6, 3, 7); x0 = low; }
    { const vf low = __builtin_shufflevector(x2, x3, 0, 4, 1, 5); x3 = __builtin_shufflevector(x2, x3, 2, 6, 3, 7); x2 = low; }
    { const vf low = __builtin_shufflevector(x0, x2, 0, 1, 4, 5); x2 = __builtin_shufflevector(x0, x2, 2, 3, 6, 7); x0 = low; }
    { const vf low = __builtin_shufflevector(x1, x3, 0, 1, 4, 5); x3 = __builtin_shufflevector(x1, x3, 2, 3, 6, 7); x1 = low; }
    done[0 * apart] = x0;
    done[2 * apart] = x1;
    done[1 * apart] = x2;
    done[3 * apart] = x3;
}
static __attribute__((noinline)) void tile_1x2(const float *restrict in, const float *restrict add,
        float *restrict out, const float *next, const conv_args *a, int32_t first, int32_t last, int y0, int x0) {
    (void)add, (void)next;
    const float *origin = in - y0 * 2 * LANES;
    const int32_t begin = ROW[0][y0], end = ROW[0][y0 + 1];
    for (int32_t group = first; group < last; group++) {
        const float *w = a->weight + group * (size_t)a->offset[1] * 4;
        const uint16_t *index = a->index + 0;
        const uint16_t *run = a->run + 0;
        const float *bias = a->bias + (size_t)group * 4;
        vf sums[5], done[8];
        for (int32_t i = begin, left, size; (left = end - i) > 0; i += size) {
            const int32_t parts = (left + 2) / 3;
            size = (left + parts - 1) / parts;
            switch (size) {
            case 3: sum_3(origin, INPUT[0] + i, w, index, run, bias, sums + (i - begin) * 1); break;
            case 2: sum_2(origin, INPUT[0] + i, w, index, run, bias, sums + (i - begin) * 1); break;
            }
        }
        transpose(sums + 0, SUMS[(y0 + 0) * 2 + 0], done + 0, 2);
        transpose(sums + 0, SUMS[(y0 + 0) * 2 + 1], done + 1, 2);
        for (int32_t f = 0; f < 4; f++) {
        vf af_0 = done[f * 2 + 0], af_1 = done[f * 2 + 1];
        if (a->order[group * 4 + f] < a->planes) {
            size_t plane = a->order[group * 4 + f];
            float *o = out + plane * 16;
            af_0 = VMAX(af_0, (vf){0}); af_0 = (vf)((vi)af_0 & COL_MASK[x0 + 0]); ST(o + ((y0 + 0) * 2 + x0 + 0) * LANES, af_0);
            af_1 = VMAX(af_1, (vf){0}); af_1 = (vf)((vi)af_1 & COL_MASK[x0 + 1]); ST(o + ((y0 + 0) * 2 + x0 + 1) * LANES, af_1);
        }
        }
    }
}
void f32_conv1x1s1_p1x1_g4_relu_by3_v4(const float *in, const float *add, float *out, const void *args, int32_t begin, int32_t end) {
    const conv_args *a = args;
    for (int32_t task = begin; task < end; task++) {
        const uint16_t *tile = TILES[task / a->parts % 1];
        int64_t part = task % a->parts;
        int32_t first = (int32_t)(a->groups * part / a->parts), last = (int32_t)(a->groups * (part + 1) / a->parts);
        int y = tile[0], x = tile[1];
        const uint16_t *after = tile;
        const float *src = in + (0) + (tile[0] * 2 + tile[1] * 1) * LANES;
        const float *next = in + (0) + (after[0] * 2 + after[1] * 1) * LANES;
        const float *skip = 0;
        float *dst = out + 0;
        switch (tile[2]) {
        case 0: tile_1x2(src, skip, dst, next, a, first, last, y / 1, x / 1); break;
        }
    }
}
