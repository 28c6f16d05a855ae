/* The part of the C library that the run time uses, for systems that it cannot link one on.

   Android's loader resolves a library's symbols in the libraries that it names as NEEDED and nowhere else that
   one may count on, and its C library is not at hand where models are compiled for it. So the Android build, and
   the executable that is pushed to a device, bring these few functions along, over system calls of Linux alone.
   The headers beside this one only include it; what it declares means what POSIX says, with less choice.

   A thread made here has no thread-local storage of its own and takes no signals: kernels need neither. */
#ifndef PCONV_BARE_H
#define PCONV_BARE_H

#include <stddef.h>
#include <stdint.h>

/* A program that links this statically has a C library too: no name of that one is defined here. */
#define calloc pconv_calloc
#define clock_gettime pconv_clock_gettime
#define close pconv_close_fd
#define free pconv_free
#define getauxval pconv_getauxval
#define getpid pconv_getpid
#define madvise pconv_madvise
#define mmap pconv_mmap
#define munmap pconv_munmap
#define open pconv_open_fd
#define posix_memalign pconv_posix_memalign
#define pthread_attr_destroy pconv_attr_destroy
#define pthread_attr_init pconv_attr_init
#define pthread_attr_setstacksize pconv_attr_setstacksize
#define pthread_cond_broadcast pconv_cond_broadcast
#define pthread_cond_destroy pconv_cond_destroy
#define pthread_cond_init pconv_cond_init
#define pthread_cond_signal pconv_cond_signal
#define pthread_cond_wait pconv_cond_wait
#define pthread_create pconv_thread_create
#define pthread_join pconv_thread_join
#define pthread_mutex_destroy pconv_mutex_destroy
#define pthread_mutex_init pconv_mutex_init
#define pthread_mutex_lock pconv_mutex_lock
#define pthread_mutex_unlock pconv_mutex_unlock
#define pthread_sigmask pconv_sigmask
#define read pconv_read_fd
#define sched_getaffinity pconv_getaffinity
#define sched_setaffinity pconv_setaffinity
#define sigfillset pconv_sigfillset
#define sysconf pconv_sysconf
#define write pconv_write_fd

typedef int pid_t;
typedef long ssize_t;

/* <string.h>: under their own names, because compilers call them unasked. */
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *text);
size_t strcspn(const char *text, const char *stops);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

/* <stdlib.h>: every block is a mapping of its own, so for few and large ones. */
void *calloc(size_t count, size_t size);
int posix_memalign(void **block, size_t alignment, size_t size); /* alignments up to 4096 */
void free(void *block);

/* <sys/mman.h> */
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 0x02
#define MAP_ANONYMOUS 0x20
#define MAP_FAILED ((void *)-1)
#define MADV_HUGEPAGE 14
void *mmap(void *address, size_t bytes, int protection, int flags, int fd, long offset);
int munmap(void *address, size_t bytes);
int madvise(void *address, size_t bytes, int advice);

/* <time.h> */
#define CLOCK_MONOTONIC 1
struct timespec {
    long tv_sec, tv_nsec;
};
int clock_gettime(int clock, struct timespec *time);

/* <unistd.h>, <fcntl.h> */
#define _SC_NPROCESSORS_ONLN 84
#define O_RDONLY 0
#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
pid_t getpid(void);
long sysconf(int name);
int open(const char *path, int flags, ...);
ssize_t read(int fd, void *buffer, size_t bytes);
ssize_t write(int fd, const void *buffer, size_t bytes);
int close(int fd);

/* <sched.h> */
enum { PCONV_MAX_CPUS = 1024 };
typedef struct {
    uint64_t bits[PCONV_MAX_CPUS / 64];
} cpu_set_t;
#define CPU_SETSIZE PCONV_MAX_CPUS
#define CPU_ZERO(set) (*(set) = (cpu_set_t){{0}})
#define CPU_SET(cpu, set) ((set)->bits[(cpu) / 64] |= UINT64_C(1) << (cpu) % 64)
#define CPU_ISSET(cpu, set) ((set)->bits[(cpu) / 64] >> (cpu) % 64 & 1)
static inline int pconv_cpu_count(const cpu_set_t *set) {
    int count = 0;
    for (int cpu = 0; cpu < PCONV_MAX_CPUS; cpu++) count += (int)CPU_ISSET(cpu, set);
    return count;
}
#define CPU_COUNT(set) pconv_cpu_count(set)
int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *set);
int sched_setaffinity(pid_t thread, size_t bytes, const cpu_set_t *set);

/* <signal.h> */
#define SIG_SETMASK 2
typedef uint64_t sigset_t;
int sigfillset(sigset_t *set);
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before);

/* <sys/auxv.h> */
#define AT_HWCAP 16
unsigned long getauxval(unsigned long type);

/* <pthread.h> */
typedef struct pconv_thread *pthread_t;
typedef _Atomic int pthread_mutex_t, pthread_cond_t;
typedef size_t pthread_attr_t; /* the stack's size */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int pthread_join(pthread_t thread, void **result); /* the result is always NULL */
int pthread_attr_init(pthread_attr_t *attributes);
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes);
int pthread_attr_destroy(pthread_attr_t *attributes);
int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_cond_init(pthread_cond_t *cond, const void *attributes);
int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int pthread_cond_signal(pthread_cond_t *cond);
int pthread_cond_broadcast(pthread_cond_t *cond);
int pthread_cond_destroy(pthread_cond_t *cond);

#endif
