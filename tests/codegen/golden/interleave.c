/* f32_interleave_v4 */
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
    const int32_t *base, *table, *holes;
    const float *scale, *shift;
    const uint8_t *shape;
    const void *value;
    int32_t planes, tasks, apart, hole_count;
    int64_t first;
} plane_args;
typedef float v4 __attribute__((vector_size(16), may_alias));
typedef float v8 __attribute__((vector_size(32)));
typedef float any_v4 __attribute__((vector_size(16), aligned(4), may_alias));
#define LDU(p) (*(const any_v4 *)(p))
#define STU(p, v) (*(any_v4 *)(p) = (v))
typedef float v16 __attribute__((vector_size(64), aligned(16), may_alias));
static inline void interleave(float *o, v4 a, v4 b, v4 c, v4 d) {
    v8 ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
    v8 cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    *(v16 *)o = __builtin_shufflevector(ab, cd, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}
static void fill_halo(float *o) {
    for (int y = 1; y < 2; y++)
        for (int x = 5; x < 6; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (-22) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 4, 4, 0));
        }
    for (int y = 1; y < 2; y++)
        for (int x = 0; x < 6; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (-16) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 4, 0, 1));
        }
    for (int y = 1; y < 2; y++)
        for (int x = 0; x < 1; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (-10) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 4, 1, 4));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 5; x < 6; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (-6) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 0, 4, 2));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 1; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (6) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 1, 4, 3, 4));
        }
    for (int y = 0; y < 1; y++)
        for (int x = 5; x < 6; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (10) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 2, 4, 4));
        }
    for (int y = 0; y < 1; y++)
        for (int x = 0; x < 6; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (16) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 2, 3, 4, 4));
        }
    for (int y = 0; y < 1; y++)
        for (int x = 0; x < 1; x++) {
            float *p = o + (y * 8 + x) * LANES;
            ST(p + (22) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 3, 4, 4, 4));
        }
}
void f32_interleave_v4(const float *in, const float *other, float *out, const void *args, int32_t begin, int32_t end) {
    const plane_args *a = args;
    int32_t from = (int32_t)((int64_t)a->planes * begin / a->tasks);
    int32_t to = (int32_t)((int64_t)a->planes * end / a->tasks);
    (void)other;
    for (int32_t c = from; c < to; c++) {
        const float *p = in + (size_t)c * 48 + 0;
        float *o = out + a->first + (size_t)c * 144 + 36;
        for (int y = 0; y < 2; y++) {
            const float *s = p + y * 12;
            float *t = o + y * 32;
            { interleave(t + 0, LDU(s + 0), LDU(s + 6), LDU(s + 24), LDU(s + 30)); }
            { interleave(t + 8, LDU(s + 2), LDU(s + 8), LDU(s + 26), LDU(s + 32)); }
        }
        fill_halo(o);
    }
}
