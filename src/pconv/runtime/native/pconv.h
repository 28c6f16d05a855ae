/* A compiled model: one shared library, these functions, nothing else to link.

   Inputs and outputs are dense NCHW float32. What the network calls integers or truth, as the places that an
   ArgMax finds, comes as floats too: whole numbers, 0 and 1. The manifest says which ("values"). A
   pconv_model runs one batch at a time; several models, also of the same library, may run at once from
   different threads. After fork() a child may go on using its copy of a model that was idle at that moment:
   its threads start again at the next run. Signals are left to the program's own threads. Nothing here
   changes the floating-point mode. */
#ifndef PCONV_H
#define PCONV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PCONV_ABI 1
#define PCONV_MAX_RANK 8
#define PCONV_MAX_THREADS 64
#define PCONV_API __attribute__((visibility("default")))

typedef struct pconv_model pconv_model;

typedef struct {
    const char *name;
    int32_t rank;
    int64_t dims[PCONV_MAX_RANK]; /* of one sample: dims[0] is 1, unless the network gives an output no batch */
} pconv_tensor;

/* The version of this interface that the library was built with. */
PCONV_API int pconv_abi(void);

/* What the model is, as JSON; lives as long as the library. Of a library for several kinds of CPU, what runs on this one. */
PCONV_API const char *pconv_manifest(void);

PCONV_API int pconv_input_count(void);
PCONV_API int pconv_output_count(void);

/* Fill in `info`; 0, or -1 when there is no i-th input (output). */
PCONV_API int pconv_info(int is_output, int i, pconv_tensor *info);

/* Make the model ready for 1 to 64 threads (the caller's included). NULL on failure, and why in `error`. */
PCONV_API pconv_model *pconv_open(int threads, char *error, size_t error_len);

/* Run `batch` samples; 0, or -1 when an argument is not valid. From about as many samples as threads on, each thread
   runs whole ones, in memory that it takes at the first such call and keeps; the rest, and all where there is no such
   memory, are run one after another by all threads together, or by the caller where that was seen to be faster. Of a
   model whose manifest has a "fold" above 1, so many samples run at once, and fewer cost as much. The caller works as
   well: on x86-64 its stack must have 1 MiB left, on AArch64 64 KiB. */
PCONV_API int pconv_run(pconv_model *, const float *const *inputs, float *const *outputs, int batch);

/* Between runs only. The number of threads now in use (fewer where the system gives no more); -1 if not 1..64, or out
   of memory: then nothing changed. */
PCONV_API int pconv_set_threads(pconv_model *, int threads);

/* Between runs only. Keep thread i of 1.. on core cores[i % count], such as a phone's big cores; `count` of 0 leaves
   the choice to the system again. Thread 0 is whoever calls pconv_run, and places itself. 0, or -1 where a core
   cannot be had (or pinning, on this system). */
PCONV_API int pconv_set_affinity(pconv_model *, const int32_t *cores, int count);

/* With `on`, every run keeps the nanoseconds of each layer, summed over its batch, whose samples then run one after
   another. */
PCONV_API int pconv_profile(pconv_model *, int on);

/* Copy at most `capacity` times of the last profiled run, in the manifest's order of layers; their full number. */
PCONV_API int pconv_times(pconv_model *, int64_t *ns, int capacity);

/* Free the model; NULL is fine. */
PCONV_API void pconv_close(pconv_model *);

#ifdef __cplusplus
}
#endif
#endif
