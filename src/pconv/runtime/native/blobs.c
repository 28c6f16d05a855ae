/* The model's weights and manifest, taken in as files: no compiler has to read them as C. */

#ifdef __APPLE__
#define BEGIN(name) ".const_data\n.p2align 6\n.globl _" #name "\n.private_extern _" #name "\n_" #name ":\n"
#define END ".text\n"
#else
#define BEGIN(name) ".pushsection .rodata." #name ",\"a\",%progbits\n.balign 64\n" \
                    ".globl " #name "\n.hidden " #name "\n.type " #name ",%object\n" #name ":\n"
#define END ".popsection\n"
#endif

/* Zeros at the end close the manifest's text and let a vector load run past the last weight. */
__asm__(BEGIN(pconv_weights) ".incbin \"" PCONV_WEIGHTS_FILE "\"\n.zero 256\n" END);
__asm__(BEGIN(pconv_manifest_json) ".incbin \"" PCONV_MANIFEST_FILE "\"\n.zero 1\n" END);
