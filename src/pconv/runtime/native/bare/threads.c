/* bare.h over system calls: threads, and locks that sleep in the kernel (futex). */
#include "bare.h"
#include "syscall.h"

#include <limits.h>
#include <stdatomic.h>

#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
/* The kernel wakes whoever joins with a call that is not private. */
#define FUTEX_WAIT 0
/* VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | PARENT_SETTID | CHILD_CLEARTID */
#define CLONE_FLAGS 0x350f00ul

enum { DEFAULT_STACK_BYTES = 1 << 20 };

struct pconv_thread {
    _Atomic int id; /* 0 when it is gone */
    size_t bytes;   /* of the mapping that holds the stack and, above it, this */
    void *(*run)(void *);
    void *argument;
};

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wlanguage-extension-token"
#endif
#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)
__asm__(".text\n.p2align 4\n.globl " TEXT(pconv_clone) "\n.hidden " TEXT(pconv_clone) "\n"
        ".type " TEXT(pconv_clone) ", %function\n" TEXT(pconv_clone) ":\n" PCONV_CLONE);

static void futex(_Atomic int *word, int operation, int value) {
    syscall6(SYS_futex, (long)word, operation, value, 0, 0, 0);
}

static void begin(void *argument) {
    struct pconv_thread *thread = argument;
    thread->run(thread->argument);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    size_t bytes = attributes ? *attributes : DEFAULT_STACK_BYTES;
    char *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) return 11;
    struct pconv_thread *made = (struct pconv_thread *)(stack + bytes) - 2;
    *made = (struct pconv_thread){.bytes = bytes, .run = run, .argument = argument};
    char *top = (char *)((uintptr_t)made & ~(uintptr_t)63);
    long id = pconv_clone(CLONE_FLAGS, top, &made->id, begin, made);
    if (id < 0) {
        munmap(stack, bytes);
        return (int)-id;
    }
    *thread = made;
    return 0;
}

int pthread_join(pthread_t thread, void **result) {
    for (int id; (id = atomic_load(&thread->id));) futex(&thread->id, FUTEX_WAIT, id);
    if (result) *result = NULL;
    return munmap((char *)(thread + 2) - thread->bytes, thread->bytes);
}

int pthread_attr_init(pthread_attr_t *attributes) {
    *attributes = DEFAULT_STACK_BYTES;
    return 0;
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes) {
    *attributes = bytes;
    return 0;
}

int pthread_attr_destroy(pthread_attr_t *attributes) { return (void)attributes, 0; }

int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes) {
    (void)attributes;
    atomic_store(mutex, 0);
    return 0;
}

/* 0 is free, 1 is taken, 2 is taken and somebody may sleep. */
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    int free_word = 0;
    if (atomic_compare_exchange_strong(mutex, &free_word, 1)) return 0;
    while (atomic_exchange(mutex, 2)) futex(mutex, FUTEX_WAIT_PRIVATE, 2);
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex) {
    if (atomic_exchange(mutex, 0) == 2) futex(mutex, FUTEX_WAKE_PRIVATE, 1);
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex) { return (void)mutex, 0; }

/* A condition counts its signals: a sleeper goes on when the count is not the one it saw under the lock. */
int pthread_cond_init(pthread_cond_t *cond, const void *attributes) {
    (void)attributes;
    atomic_store(cond, 0);
    return 0;
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex) {
    int seen = atomic_load(cond);
    pthread_mutex_unlock(mutex);
    futex(cond, FUTEX_WAIT_PRIVATE, seen);
    return pthread_mutex_lock(mutex);
}

int pthread_cond_signal(pthread_cond_t *cond) {
    atomic_fetch_add(cond, 1);
    futex(cond, FUTEX_WAKE_PRIVATE, 1);
    return 0;
}

int pthread_cond_broadcast(pthread_cond_t *cond) {
    atomic_fetch_add(cond, 1);
    futex(cond, FUTEX_WAKE_PRIVATE, INT_MAX);
    return 0;
}

int pthread_cond_destroy(pthread_cond_t *cond) { return (void)cond, 0; }
