/* The model's weights, taken in as a file. (For ELF the build writes the object itself, which is faster.) */

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name) /* of what a prefix makes of the name */
#if defined(__APPLE__)
#define SECTION ".section __TEXT,__const\n"
#define HIDDEN ".private_extern "
#define NAME(name) "_" TEXT(name)
#else
#define SECTION ".section .rodata\n"
#define HIDDEN ".hidden "
#define NAME(name) TEXT(name)
#endif

/* A vector load may run into the zeros behind. */
__asm__(SECTION ".p2align 6\n.globl " NAME(pconv_weights) "\n" HIDDEN NAME(pconv_weights) "\n" NAME(pconv_weights) ":\n"
        ".incbin \"" PCONV_WEIGHTS_FILE "\"\n.zero 256\n.text\n");
