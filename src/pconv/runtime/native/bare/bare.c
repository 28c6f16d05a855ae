/* bare.h over system calls: memory, files, time, cores. (Threads: threads.c.) */
#include "bare.h"
#include "syscall.h"

enum { HEAD_BYTES = 4096 }; /* in front of every block: its size, and room to be aligned */

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, long offset) {
    long at = syscall6(SYS_mmap, (long)address, (long)bytes, protection, flags, fd, offset);
    return at < 0 && at > -4096 ? MAP_FAILED : (void *)at;
}

int munmap(void *address, size_t bytes) {
    return (int)syscall6(SYS_munmap, (long)address, (long)bytes, 0, 0, 0, 0);
}

int madvise(void *address, size_t bytes, int advice) {
    return (int)syscall6(SYS_madvise, (long)address, (long)bytes, advice, 0, 0, 0);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    char *at = mmap(NULL, HEAD_BYTES + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (alignment > HEAD_BYTES || at == MAP_FAILED) return 12;
    *(size_t *)at = HEAD_BYTES + size;
    *block = at + HEAD_BYTES;
    return 0;
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    void *block;
    if (__builtin_mul_overflow(count, size, &bytes) || posix_memalign(&block, 16, bytes)) return NULL;
    return block;
}

void free(void *block) {
    if (block) munmap((char *)block - HEAD_BYTES, *(size_t *)((char *)block - HEAD_BYTES));
}

int clock_gettime(int clock, struct timespec *time) {
    return (int)syscall6(SYS_clock_gettime, clock, (long)time, 0, 0, 0, 0);
}

pid_t getpid(void) { return (pid_t)syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0); }

int open(const char *path, int flags, ...) {
    long fd = syscall6(SYS_openat, -100, (long)path, flags, 0644, 0, 0);
    return fd < 0 ? -1 : (int)fd;
}

ssize_t read(int fd, void *buffer, size_t bytes) {
    return syscall6(SYS_read, fd, (long)buffer, (long)bytes, 0, 0, 0);
}

ssize_t write(int fd, const void *buffer, size_t bytes) {
    return syscall6(SYS_write, fd, (long)buffer, (long)bytes, 0, 0, 0);
}

int close(int fd) { return (int)syscall6(SYS_close, fd, 0, 0, 0, 0, 0); }

int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *set) {
    CPU_ZERO(set);
    return syscall6(SYS_sched_getaffinity, thread, (long)bytes, (long)set, 0, 0, 0) < 0 ? -1 : 0;
}

int sched_setaffinity(pid_t thread, size_t bytes, const cpu_set_t *set) {
    return syscall6(SYS_sched_setaffinity, thread, (long)bytes, (long)set, 0, 0, 0) < 0 ? -1 : 0;
}

long sysconf(int name) {
    cpu_set_t set;
    return name == _SC_NPROCESSORS_ONLN && !sched_getaffinity(0, sizeof set, &set) ? CPU_COUNT(&set) : -1;
}

int sigfillset(sigset_t *set) {
    *set = ~UINT64_C(0);
    return 0;
}

int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
    return (int)-syscall6(SYS_rt_sigprocmask, how, (long)set, (long)before, sizeof *set, 0, 0);
}

static unsigned long from_auxv(int fd, unsigned long type) {
    for (unsigned long pair[2]; read(fd, pair, sizeof pair) == sizeof pair && pair[0];)
        if (pair[0] == type) return pair[1];
    return 0;
}

#if defined(__aarch64__)
/* An app that may not be debugged cannot read its own auxv, but what cpu.c asks of AT_HWCAP stands in /proc/cpuinfo. */
static unsigned long bit_of(const char *word, size_t length) {
    if (length == 4 && !memcmp(word, "fphp", length)) return 1ul << 9;
    return length == 7 && !memcmp(word, "asimdhp", length) ? 1ul << 10 : 0;
}

static unsigned long from_cpuinfo(int fd) {
    char text[4096];
    ssize_t length = read(fd, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = 0;
    const char *at = text;
    while (*at && strncmp(at, "Features", 8)) at += strcspn(at, "\n") + (at[strcspn(at, "\n")] != 0);
    at += strcspn(at, ":\n");
    unsigned long found = 0;
    while (*at == ':' || *at == ' ') {
        size_t word = strcspn(++at, " \n");
        found |= bit_of(at, word);
        at += word;
    }
    return found;
}
#endif

unsigned long getauxval(unsigned long type) {
    unsigned long value = 0;
    int fd = open("/proc/self/auxv", O_RDONLY);
    if (fd >= 0) value = from_auxv(fd, type);
    close(fd);
#if defined(__aarch64__)
    if (fd < 0 && type == AT_HWCAP && (fd = open("/proc/cpuinfo", O_RDONLY)) >= 0) {
        value = from_cpuinfo(fd);
        close(fd);
    }
#endif
    return value;
}
