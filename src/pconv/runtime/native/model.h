/* What a generated model provides to the run time. */
#ifndef PCONV_MODEL_H
#define PCONV_MODEL_H

#include "pconv.h"

#define PCONV_SLACK_BYTES 4096 /* on both sides of the arena; kernels may read it, never write it */

typedef struct {
    float *arena;    /* 64-byte aligned, zero when the model is opened, kept from run to run */
    float *prepared; /* 64-byte aligned: what `preparation` wrote, the same for all samples */
    const unsigned char *weights;
    const float *const *inputs;
    float *const *outputs;
    unsigned char *scratch; /* of the first thread; inside a step, of the thread that runs it; 64-byte aligned */
    size_t scratch_bytes;   /* of each thread */
    int32_t image;          /* which of those that lie side by side; 0 in steps on all of them */
    int32_t threads;        /* that may share the tasks of a step */
} pconv_frame;

/* One layer: its tasks are independent, threads take at least `grain` at a time, a barrier ends the step. */
typedef struct {
    const char *name;
    void (*run)(const pconv_frame *, int32_t begin, int32_t end);
    int32_t tasks;
    int32_t grain;
} pconv_step;

/* The model as it is compiled for one kind of CPU. */
typedef struct {
    const char *features; /* without which it cannot run, as /proc/cpuinfo spells them: "avx2,fma" */
    const char *refusal;  /* what to tell the caller then */
    const char *manifest; /* what the model says of itself, as JSON */
    const pconv_step *steps;
    int32_t step_count;
    int32_t images;         /* of a batch that run together: the first `before` steps image by image, the next `folded` */
    int32_t before, folded; /* on all of them, and the rest image by image */
    size_t arena_bytes;
    size_t scratch_bytes;          /* what a thread needs for itself, a multiple of 64 */
    size_t prepared_bytes;
    const pconv_step *preparation; /* once, when the model is opened */
    int32_t preparation_count;
} pconv_plan;

#define PCONV_NEEDS(features) \
    features, "this CPU lacks instructions that the model was compiled for (it needs " features ")"

/* From the generated sources: the plans, the most demanding first, NULL at the end; and what all of them take and give. */
extern const pconv_plan *const pconv_plans[];
extern const pconv_tensor pconv_inputs[], pconv_outputs[];
extern const int32_t pconv_inputs_count, pconv_outputs_count;

/* From the build: the weights of all plans, 64-byte aligned. */
extern const unsigned char pconv_weights[];

/* From cpu.c: whether this CPU has all the features of a plan. */
extern int pconv_cpu_has(const char *features);

/* From runtime.c: the first plan that this CPU can run; the last where it can run none. */
extern const pconv_plan *pconv_chosen(void);

#endif
