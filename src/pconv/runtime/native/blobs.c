/* The model's weights and manifest, taken in as files. (For ELF the build writes the object itself, which is faster.) */

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

/* Zeros end a text, and a vector load may run into them. */
#define BLOB(name, file) \
    SECTION ".p2align 6\n.globl " NAME(name) "\n" HIDDEN NAME(name) "\n" NAME(name) ":\n" \
    ".incbin \"" file "\"\n.zero 256\n"

__asm__(BLOB(pconv_weights, PCONV_WEIGHTS_FILE) BLOB(pconv_manifest_json, PCONV_MANIFEST_FILE) ".text\n");
