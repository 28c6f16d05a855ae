/* A program without a C library: from the kernel's stack to main(argc, argv), and out. */
#include "bare.h"
#include "syscall.h"

int main(int argc, char **argv);

__asm__(".text\n.globl _start\n.type _start, %function\n_start:\n" PCONV_START);

__attribute__((noreturn, used)) void bare_start(long *stack);

void bare_start(long *stack) {
    int code = main((int)stack[0], (char **)(stack + 1));
    for (;;) syscall6(SYS_exit_group, code, 0, 0, 0, 0, 0);
}
