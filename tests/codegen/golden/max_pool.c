/* f32_maxpool3x3s2_v4 */
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
static void fill_halo(float *o) {
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (-14) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 4, 4, 0));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (-12) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 4, 0, 1));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (-10) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 4, 1, 4));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (-2) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 0, 4, 2));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (2) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 1, 4, 3, 4));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (10) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 4, 2, 4, 4));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (12) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 2, 3, 4, 4));
        }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            float *p = o + (y * 6 + x) * LANES;
            ST(p + (14) * LANES, __builtin_shufflevector(LD(p), (vf){0}, 3, 4, 4, 4));
        }
}
void f32_maxpool3x3s2_v4(const float *in, const float *other, float *out, const void *args, int32_t begin, int32_t end) {
    const plane_args *a = args;
    int32_t from = (int32_t)((int64_t)a->planes * begin / a->tasks);
    int32_t to = (int32_t)((int64_t)a->planes * end / a->tasks);
    (void)other;
    for (int32_t c = from; c < to; c++) {
        const float *origin = in + (size_t)c * 112 + 24;
        float *o = out + (size_t)c * 144 + 56;
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) {
                const float *p = origin + (y * 10 + x * 2) * LANES;
                vf v = VMAX(VMAX(VMAX(VMAX(VMAX(VMAX(VMAX(VMAX(LD(p + (-24)), LD(p + (-20))), LD(p + (-16))), LD(p + (-4))), LD(p + (0))), LD(p + (4))), LD(p + (16))), LD(p + (20))), LD(p + (24)));
                
                ST(o + (y * 6 + x) * LANES, v);
            }
        fill_halo(o);
    }
}
