/* A model on the GPU where there is one, else on the CPU: both compiled from the same file.

   Link opencl.c, auto.c and the CPU's library (pconv.h), and hand in the GPU's .pcl file:

       char note[400];
       pconv_auto *model = pconv_auto_open(pcl, pcl_bytes, cache_folder, threads, note, sizeof note);
       puts(note);      "GPU: Adreno (TM) 640", or "CPU: OpenCL: this machine has no libOpenCL"
       pconv_auto_run(model, inputs, outputs, 1);
       pconv_auto_close(model); */
#ifndef PCONV_AUTO_H
#define PCONV_AUTO_H

#include "opencl.h"
#include "pconv.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pconv_auto pconv_auto;

/* Open the model, and say in `note` where it runs and, on the CPU, why. NULL when neither can, and why in `note`. */
pconv_auto *pconv_auto_open(const void *pcl, size_t pcl_bytes, const char *cache, int threads, char *note, size_t note_len);

/* Whether the model runs on a GPU. */
int pconv_auto_on_gpu(const pconv_auto *);

/* Run `batch` samples; 0, or what went wrong. */
int pconv_auto_run(pconv_auto *, const float *const *inputs, float *const *outputs, int batch);

/* Free the model; NULL is fine. */
void pconv_auto_close(pconv_auto *);

#ifdef __cplusplus
}
#endif
#endif
