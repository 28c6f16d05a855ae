/* The functions that compilers call unasked. A static library leaves them out: its program has them. */
#include "bare.h"

/* Without this clang would make each loop a call of the function that it is in. */
#define PLAIN_LOOPS __attribute__((optimize("no-tree-loop-distribute-patterns")))
#if defined(__clang__)
#undef PLAIN_LOOPS
#define PLAIN_LOOPS __attribute__((no_builtin))
#endif

PLAIN_LOOPS void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    char *t = to;
    const char *f = from;
    for (size_t i = 0; i < n; i++) t[i] = f[i];
    return to;
}

PLAIN_LOOPS void *memmove(void *to, const void *from, size_t n) {
    char *t = to;
    const char *f = from;
    if (t < f)
        for (size_t i = 0; i < n; i++) t[i] = f[i];
    else
        for (size_t i = n; i-- > 0;) t[i] = f[i];
    return to;
}

PLAIN_LOOPS void *memset(void *to, int byte, size_t n) {
    char *t = to;
    for (size_t i = 0; i < n; i++) t[i] = (char)byte;
    return to;
}

PLAIN_LOOPS int memcmp(const void *a, const void *b, size_t n) {
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i]) return x[i] - y[i];
    return 0;
}

PLAIN_LOOPS size_t strlen(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

PLAIN_LOOPS int strncmp(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] || !a[i]) return (unsigned char)a[i] - (unsigned char)b[i];
    return 0;
}

PLAIN_LOOPS int strcmp(const char *a, const char *b) { return strncmp(a, b, (size_t)-1); }

PLAIN_LOOPS size_t strcspn(const char *text, const char *stops) {
    size_t n = 0;
    for (; text[n]; n++)
        for (const char *stop = stops; *stop; stop++)
            if (text[n] == *stop) return n;
    return n;
}

/* What clang makes of a memcmp that only asks whether there is a difference. */
int bcmp(const void *a, const void *b, size_t n);

int bcmp(const void *a, const void *b, size_t n) { return memcmp(a, b, n); }
