/* pconv_bench for the model that it is linked with, on the CPU; on Linux and Android without a C library. */
#define _GNU_SOURCE
#include "bench.h"
#include "model.h"

_Static_assert(MAX_THREADS == PCONV_MAX_THREADS, "as many as the run time has");

static const char usage[] =
    "usage: pconv_bench [--threads N] [--batch N] [--warmup N] [--repeat N] [--cpus 4-7,0] [--input FILE] [--output FILE]\n"
    "  --batch is of samples in a run, as many as lie side by side (--fold) by default, else 1; --cpus runs on these\n"
    "  cores only; --input and --output are raw float32, all samples of one tensor, then those of the next.\n";

static pconv_model *model;
static int threads;

static int model_open(const options *o, char *error, size_t error_len) {
    model = pconv_open(o->threads, error, error_len);
    threads = model ? pconv_set_threads(model, o->threads) : 0;
    return model != NULL;
}

static int model_tensors(int is_output) { return is_output ? pconv_output_count() : pconv_input_count(); }

static size_t model_elems(int is_output, int i) {
    pconv_tensor info;
    size_t elems = 1;
    pconv_info(is_output, i, &info);
    for (int32_t d = 0; d < info.rank; d++) elems *= (size_t)info.dims[d];
    return elems;
}

static int model_images(void) { return pconv_chosen()->images; }

static int model_run(const float *const *inputs, float *const *outputs, int batch) {
    return pconv_run(model, inputs, outputs, batch);
}

static int model_profile(void) { return pconv_profile(model, 1); }

static int model_times(int64_t *ns, int capacity) {
    if (capacity) pconv_times(model, ns, capacity);
    return pconv_chosen()->step_count;
}

static const char *model_layer(int i) { return pconv_chosen()->steps[i].name; }

static void put_model(void) {
    put("\"manifest\": ");
    put(pconv_manifest());
    put(", \"threads\": ");
    put_number(threads);
    put(", ");
}

int main(int argc, char **argv) {
    int code = bench(argc, argv, usage, (options){.threads = 1, .warmup = 5, .repeat = 50});
    pconv_close(model);
    return code;
}
