/* auto.h: one of two models, chosen when it is opened. */
#include "auto.h"

#include <stdio.h>
#include <stdlib.h>

struct pconv_auto {
    pconv_gpu *gpu;
    pconv_model *cpu;
};

pconv_auto *pconv_auto_open(const void *pcl, size_t pcl_bytes, const char *cache, int threads, char *note, size_t note_len) {
    char why[300] = "", error[200] = "";
    pconv_auto *model = calloc(1, sizeof *model);
    if (!model) return NULL;
    model->gpu = pconv_gpu_open(pcl, pcl_bytes, cache, why, sizeof why);
    if (!model->gpu) model->cpu = pconv_open(threads, error, sizeof error);
    if (note && note_len) {
        if (model->gpu) snprintf(note, note_len, "GPU: %s", pconv_gpu_device(model->gpu));
        else snprintf(note, note_len, "CPU: %s%s%s", why, *error ? "; " : "", error);
    }
    if (model->gpu || model->cpu) return model;
    free(model);
    return NULL;
}

int pconv_auto_on_gpu(const pconv_auto *model) { return model->gpu != NULL; }

int pconv_auto_run(pconv_auto *model, const float *const *inputs, float *const *outputs, int batch) {
    if (model->gpu) return pconv_gpu_run(model->gpu, inputs, outputs, batch);
    return pconv_run(model->cpu, inputs, outputs, batch);
}

void pconv_auto_close(pconv_auto *model) {
    if (!model) return;
    pconv_gpu_close(model->gpu);
    pconv_close(model->cpu);
    free(model);
}
