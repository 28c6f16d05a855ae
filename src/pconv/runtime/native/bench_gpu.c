/* pconv_bench for a model on a GPU: any .pcl file, on the device that opencl.h takes. */
#define _GNU_SOURCE
#include "bench.h"
#include "opencl.h"

#include <stdio.h>

static const char usage[] =
    "usage: pconv_gpu_bench --model FILE.pcl [--cache FOLDER] [--warmup N] [--repeat N] [--cpus 4-7,0] [--input FILE]\n"
    "  [--output FILE]\n"
    "  --cache keeps compiled kernels; --cpus runs what feeds the GPU on these cores only; --input and --output are raw\n"
    "  float32, all tensors one after another.\n";

static pconv_gpu *model;
static char *file; /* the .pcl file's bytes */
static size_t file_bytes;

/* Read all of a file; its size is found by reading. */
static int read_file(const char *path) {
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : 1;
    for (size_t room = 0; got > 0; file_bytes += got > 0 ? (size_t)got : 0) {
        if (file_bytes == room) {
            char *more = realloc(file, room = 2 * room + (1 << 20));
            if (!more) break;
            file = more;
        }
        got = read(fd, file + file_bytes, room - file_bytes);
    }
    if (fd >= 0) close(fd);
    return got == 0;
}

static int model_open(const options *o, char *error, size_t error_len) {
    if (!*o->model) return snprintf(error, error_len, "which model? name a .pcl file with --model"), 0;
    if (!read_file(o->model)) return snprintf(error, error_len, "%s cannot be read; name a .pcl file with --model", o->model), 0;
    model = pconv_gpu_open(file, file_bytes, o->cache, error, error_len);
    return model != NULL;
}

static int model_tensors(int is_output) {
    int count = 0;
    while (pconv_gpu_elems(model, is_output, count) >= 0) count++;
    return count;
}

static size_t model_elems(int is_output, int i) { return (size_t)pconv_gpu_elems(model, is_output, i); }

static int model_images(void) { return 1; }

static int model_run(const float *const *inputs, float *const *outputs, int batch) {
    return pconv_gpu_run(model, inputs, outputs, batch);
}

static int model_profile(void) { return pconv_gpu_profile(model, 1); }

static int model_times(int64_t *ns, int capacity) { return pconv_gpu_times(model, ns, capacity); }

static const char *model_layer(int i) { return pconv_gpu_layer(model, i); }

static void put_model(void) {
    put("\"manifest\": ");
    put(pconv_gpu_manifest(file, file_bytes));
    put(", \"gpu\": ");
    put_string(pconv_gpu_identity(model));
    put(", \"threads\": 1, ");
}

int main(int argc, char **argv) {
    int code = bench(argc, argv, usage, (options){.threads = 1, .warmup = 5, .repeat = 50, .model = ""});
    pconv_gpu_close(model);
    free(file);
    return code;
}
