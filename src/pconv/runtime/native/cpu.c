/* Is this CPU one that a plan can run on? Compiled for the plainest CPU of the architecture, so that asking is safe anywhere. */
#include "model.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { EBX, ECX };

static const struct {
    const char *name;
    unsigned leaf, reg, bit;
    unsigned state; /* the registers that the operating system must save, as bits of XCR0 */
} known[] = {
    {"avx", 1, ECX, 28, 0x06},      {"avx2", 7, EBX, 5, 0x06},      {"bmi1", 7, EBX, 3, 0},
    {"bmi2", 7, EBX, 8, 0},         {"f16c", 1, ECX, 29, 0x06},     {"fma", 1, ECX, 12, 0x06},
    {"movbe", 1, ECX, 22, 0},       {"avx512f", 7, EBX, 16, 0xe6},  {"avx512dq", 7, EBX, 17, 0xe6},
    {"avx512cd", 7, EBX, 28, 0xe6}, {"avx512bw", 7, EBX, 30, 0xe6}, {"avx512vl", 7, EBX, 31, 0xe6},
};

static unsigned saved_state(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a;
}

static int has(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) != length || memcmp(known[i].name, name, length)) continue;
        unsigned a, regs[2], d;
        if (!__get_cpuid_count(known[i].leaf, 0, &a, &regs[EBX], &regs[ECX], &d)) return 0;
        unsigned state = known[i].state;
        return (regs[known[i].reg] >> known[i].bit & 1) && (state == 0 || (saved_state() & state) == state);
    }
    return 0;
}

#else

#if defined(__APPLE__)
#include <sys/sysctl.h>

/* Systems before macOS 12 and iOS 15 know the older names only. */
static int reported(const char *name, const char *older) {
    int value = 0;
    size_t bytes = sizeof value;
    if (!sysctlbyname(name, &value, &bytes, NULL, 0)) return value;
    bytes = sizeof value;
    return !sysctlbyname(older, &value, &bytes, NULL, 0) && value;
}
#define HALVES reported("hw.optional.arm.FEAT_FP16", "hw.optional.neon_fp16")
#else
#include <sys/auxv.h>

#ifndef AT_HWCAP
#define AT_HWCAP 16
#endif
/* HWCAP_FPHP and HWCAP_ASIMDHP: half arithmetic on one number, and on vectors. */
#define HALVES ((getauxval(AT_HWCAP) & 0x600) == 0x600)
#endif

/* NEON is part of AArch64 itself. */
static int has(const char *name, size_t length) {
    static const char *const always[] = {"asimd", "fp"}, *const halves[] = {"asimdhp", "fphp"};
    for (int i = 0; i < 2; i++) {
        if (strlen(always[i]) == length && !memcmp(always[i], name, length)) return 1;
        if (strlen(halves[i]) == length && !memcmp(halves[i], name, length)) return HALVES;
    }
    return 0;
}

#endif

int pconv_cpu_has(const char *features) {
    for (const char *name = features; *name;) {
        size_t length = strcspn(name, ",");
        if (!has(name, length)) return 0;
        name += length + (name[length] == ',');
    }
    return 1;
}
