/* The model's weights and manifest for Mach-O, taken in as files. (For ELF the build writes the object.) */

#define BLOB(name, file) \
    ".section __TEXT,__const\n.p2align 6\n.globl _" name "\n.private_extern _" name "\n_" name ":\n" \
    ".incbin \"" file "\"\n.zero 256\n" /* zeros end a text, and a vector load may run into them */

__asm__(BLOB("pconv_weights", PCONV_WEIGHTS_FILE) BLOB("pconv_manifest_json", PCONV_MANIFEST_FILE) ".text\n");
