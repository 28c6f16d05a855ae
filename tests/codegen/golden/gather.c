/* f32_gather_v4 */
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
void f32_gather_v4(const float *in, const float *other, float *out, const void *args, int32_t begin, int32_t end) {
    const plane_args *a = args;
    int32_t from = (int32_t)((int64_t)a->planes * begin / a->tasks);
    int32_t to = (int32_t)((int64_t)a->planes * end / a->tasks);
    (void)other;
    for (int32_t c = from; c < to; c++) {
        float *o = out + a->first + (size_t)c * 48;
        int32_t base = a->base[c];
        if (base < 0) {
            memset(o, 0, sizeof(float) * 48);
            continue;
        }
        const float *p = in + base;
        const int32_t *restrict table = a->table;
        float *restrict q = o;
        for (int32_t i = 0; i < 48; i++) q[i] = p[table[i]];
        for (int32_t i = 0; i < a->hole_count; i++) q[a->holes[i]] = 0;
    }
}
