/* How a program on Android begins: as the NDK's crtbegin_dynamic.o does it, for programs that are linked without one. */

typedef void (*const *functions)(void);
typedef struct {
    functions before, at_start, at_end;
} structors;

int main(int argc, char **argv);
__attribute__((noreturn)) void __libc_init(void *stack, void (*at_exit)(void), int (*main)(int, char **),
                                           const structors *of_the_program);

__attribute__((noreturn, used)) static void begin(void *stack) {
    static const structors none;
    __libc_init(stack, 0, main, &none);
}

#if defined(__aarch64__)
__asm__(".text\n.globl _start\n.type _start, %function\n_start:\n    mov x0, sp\n    b begin\n");
#elif defined(__x86_64__)
__asm__(".text\n.globl _start\n.type _start, %function\n_start:\n    mov %rsp, %rdi\n    and $-16, %rsp\n    call begin\n");
#endif
