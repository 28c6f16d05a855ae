/* System calls of Linux, their numbers, and a new thread's first steps. */
#ifndef PCONV_SYSCALL_H
#define PCONV_SYSCALL_H

/* Make a thread whose stack ends at `stack`, and let it call run(argument). Its id, which the kernel clears in
   *id when the thread is gone, or a negative number. */
long pconv_clone(unsigned long flags, void *stack, _Atomic int *id, void (*run)(void *), void *argument);

#if defined(__x86_64__)

enum {
    SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_munmap = 11, SYS_rt_sigprocmask = 14,
    SYS_madvise = 28, SYS_getpid = 39, SYS_futex = 202, SYS_sched_setaffinity = 203,
    SYS_sched_getaffinity = 204, SYS_clock_gettime = 228, SYS_exit_group = 231, SYS_openat = 257,
};

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define PCONV_CLONE \
    "    sub $16, %rsi\n" \
    "    mov %rcx, (%rsi)\n" \
    "    mov %r8, 8(%rsi)\n" \
    "    mov %rdx, %r10\n" \
    "    mov $56, %eax\n" \
    "    syscall\n" \
    "    test %rax, %rax\n" \
    "    jz 1f\n" \
    "    ret\n" \
    "1:  xor %ebp, %ebp\n" \
    "    pop %rax\n" \
    "    pop %rdi\n" \
    "    call *%rax\n" \
    "    xor %edi, %edi\n" \
    "    mov $60, %eax\n" \
    "    syscall\n"

#define PCONV_START "    mov %rsp, %rdi\n    and $-16, %rsp\n    call bare_start\n"

#elif defined(__aarch64__)

enum {
    SYS_openat = 56, SYS_close = 57, SYS_read = 63, SYS_write = 64, SYS_exit_group = 94, SYS_futex = 98,
    SYS_clock_gettime = 113, SYS_sched_setaffinity = 122, SYS_sched_getaffinity = 123,
    SYS_rt_sigprocmask = 135, SYS_getpid = 172, SYS_munmap = 215, SYS_mmap = 222, SYS_madvise = 233,
};

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

#define PCONV_CLONE \
    "    stp x3, x4, [x1, #-16]!\n" \
    "    mov x4, x2\n" \
    "    mov x8, #220\n" \
    "    svc #0\n" \
    "    cbz x0, 1f\n" \
    "    ret\n" \
    "1:  mov x29, xzr\n" \
    "    ldp x1, x0, [sp], #16\n" \
    "    blr x1\n" \
    "    mov x0, xzr\n" \
    "    mov x8, #93\n" \
    "    svc #0\n"

#define PCONV_START "    mov x0, sp\n    bl bare_start\n"

#endif
#endif
