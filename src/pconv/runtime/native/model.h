/* What a generated model provides to the run time. */
#ifndef PCONV_MODEL_H
#define PCONV_MODEL_H

#include "pconv.h"

#define PCONV_SLACK_BYTES 4096 /* on both sides of the arena; kernels may read it, never write it */

typedef struct {
    float *arena; /* 64-byte aligned, zero when the model is opened, kept from run to run */
    const unsigned char *weights;
    const float *const *inputs;
    float *const *outputs;
} pconv_frame;

/* One layer: its tasks are independent, threads take at least `grain` at a time, a barrier ends the step. */
typedef struct {
    const char *name;
    void (*run)(const pconv_frame *, int32_t begin, int32_t end);
    int32_t tasks;
    int32_t grain;
} pconv_step;

/* From the generated sources. */
extern const pconv_step pconv_steps[];
extern const int32_t pconv_step_count;
extern const size_t pconv_arena_bytes;
extern const pconv_tensor pconv_inputs[], pconv_outputs[];
extern const int32_t pconv_inputs_count, pconv_outputs_count;

/* From blobs.c, which the build fills with Program.weights (64-byte aligned) and Program.manifest. */
extern const unsigned char pconv_weights[];
extern const char pconv_manifest_json[];

/* From cpu.c: NULL where this CPU has the features that the target asks for, else what to tell the caller. */
extern const char *pconv_cpu_lacks(void);

#endif
