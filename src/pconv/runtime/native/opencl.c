/* opencl.h: read a .pcl file (runtime/opencl_file.py says how it is made), compile its kernels, run its launches. */
#define _GNU_SOURCE
#include "opencl.h"
#include "opencl_api.h"
#include "opencl_half.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "PCONVCL2"
#define HEADER_BYTES 64
#define SEAL_BYTES 79 /* the last line: a hash, which loading does not look at */
#define OPTIONS "-cl-std=CL1.2 -cl-mad-enable"
#define MAX_BUFFERS 64
#define MAX_WORD 256
#define MAX_PATH_BYTES 1024

typedef struct {
    cl_object kernel;
    size_t global[2], local[2];
    char *layer; /* its name */
} launch;

typedef struct {
    const char *manifest, *launches, *source, *constants;
    size_t source_bytes, constants_bytes;
} parts;

struct pconv_gpu {
    opencl_api cl;
    cl_object device, context, queue, timed_queue, program, constants;
    char name[MAX_WORD], identity[4 * MAX_WORD];
    char *layer; /* what the next launch is called */
    size_t elem_bytes;
    int counts[2]; /* inputs, outputs */
    int64_t elems[2][MAX_BUFFERS];
    cl_object arena, buffers[2][MAX_BUFFERS];
    void *staging; /* halves of one input or output */
    launch *launches;
    int launch_count, launch_room;
    int64_t *ns; /* per launch; NULL unless profiling */
};

static int fail(char *error, size_t error_len, const char *what, const char *detail) {
    if (error && error_len) snprintf(error, error_len, "%s%s%s", what, *detail ? ": " : "", detail);
    return 0;
}

static uint64_t read_u64(const unsigned char *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

static int split(parts *p, const unsigned char *pcl, size_t bytes) {
    const char *found[4];
    size_t sizes[4], at = HEADER_BYTES;
    if (bytes < HEADER_BYTES || memcmp(pcl, MAGIC, 8)) return 0;
    for (int i = 0; i < 4; i++) {
        uint64_t size = read_u64(pcl + 8 + 8 * i);
        if (size > bytes || at + size >= bytes) return 0;
        found[i] = (const char *)pcl + at;
        sizes[i] = (size_t)size;
        at += sizes[i] + HEADER_BYTES - sizes[i] % HEADER_BYTES;
    }
    *p = (parts){found[0], found[1], found[2], found[3], sizes[2], sizes[3]};
    return at + SEAL_BYTES == bytes;
}

/* --- device and program --------------------------------------------------------------------------------------- */

/* Cut spaces off both ends, which some drivers leave. */
static const char *trimmed(char *text) {
    while (*text == ' ') text++;
    for (size_t n = strlen(text); n && text[n - 1] == ' ';) text[--n] = 0;
    return text;
}

/* The first GPU of all platforms, else the first device of any kind. */
static int choose_device(pconv_gpu *g) {
    cl_object platforms[16];
    cl_uint count = 0;
    if (g->cl.GetPlatformIDs(16, platforms, &count) != CL_SUCCESS) return 0;
    const cl_bits kinds[] = {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ALL};
    for (int kind = 0; kind < 2; kind++)
        for (cl_uint i = 0; i < count && i < 16; i++)
            if (g->cl.GetDeviceIDs(platforms[i], kinds[kind], 1, &g->device, NULL) == CL_SUCCESS) return 1;
    return 0;
}

/* Write down what the device is: as pconv's Python says it too, so that what was tuned through either serves both. */
static void identify(pconv_gpu *g) {
    char platform[MAX_WORD] = "", driver[MAX_WORD] = "";
    cl_object of = NULL;
    g->cl.GetDeviceInfo(g->device, CL_DEVICE_NAME, sizeof g->name - 1, g->name, NULL);
    g->cl.GetDeviceInfo(g->device, CL_DRIVER_VERSION, sizeof driver - 1, driver, NULL);
    g->cl.GetDeviceInfo(g->device, CL_DEVICE_PLATFORM, sizeof of, &of, NULL);
    if (of) g->cl.GetPlatformInfo(of, CL_PLATFORM_NAME, sizeof platform - 1, platform, NULL);
    snprintf(g->identity, sizeof g->identity, "%s: %s, driver %s", trimmed(platform), trimmed(g->name), trimmed(driver));
}

static uint64_t hash(uint64_t seed, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) seed = (seed ^ (unsigned char)text[i]) * 1099511628211u;
    return seed;
}

static void binary_path(const pconv_gpu *g, const parts *p, const char *cache, char *path) {
    uint64_t key = hash(14695981039346656037u, g->identity, strlen(g->identity));
    key = hash(hash(key, OPTIONS, sizeof OPTIONS), p->source, p->source_bytes);
    snprintf(path, MAX_PATH_BYTES, "%s/pconv-%016" PRIx64 ".clbin", cache, key);
}

static int build(pconv_gpu *g) {
    return g->program && g->cl.BuildProgram(g->program, 1, &g->device, OPTIONS, NULL, NULL) == CL_SUCCESS;
}

/* Take the program from a file that an earlier run left; 0 when there is none that fits. */
static int load_binary(pconv_gpu *g, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t bytes = 0;
    unsigned char *data = NULL;
    if (!fseek(file, 0, SEEK_END) && (bytes = (size_t)ftell(file)) > 0 && (data = malloc(bytes))) {
        rewind(file);
        bytes = fread(data, 1, bytes, file);
    }
    fclose(file);
    if (!data) return 0;
    const unsigned char *binary = data;
    g->program = g->cl.CreateProgramWithBinary(g->context, 1, &g->device, &bytes, &binary, NULL, NULL);
    free(data);
    if (build(g)) return 1;
    if (g->program) g->cl.ReleaseProgram(g->program);
    g->program = NULL;
    return 0;
}

/* Leave the program for later runs, whole or not at all; that it may fail costs only time. */
static void save_binary(pconv_gpu *g, const char *path) {
    size_t bytes = 0;
    if (g->cl.GetProgramInfo(g->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) != CL_SUCCESS || !bytes)
        return;
    unsigned char *data = malloc(bytes);
    char part[MAX_PATH_BYTES + 40];
    snprintf(part, sizeof part, "%s.%ld.part", path, (long)getpid()); /* other processes may leave theirs now */
    FILE *file = data ? fopen(part, "wb") : NULL;
    if (file) {
        int good = g->cl.GetProgramInfo(g->program, CL_PROGRAM_BINARIES, sizeof data, &data, NULL) == CL_SUCCESS &&
                   fwrite(data, 1, bytes, file) == bytes;
        good = !fclose(file) && good;
        if (!good || rename(part, path)) remove(part);
    }
    free(data);
}

static int make_program(pconv_gpu *g, const parts *p, const char *cache, char *error, size_t error_len) {
    char path[MAX_PATH_BYTES];
    if (cache) binary_path(g, p, cache, path);
    if (cache && load_binary(g, path)) return 1;
    g->program = g->cl.CreateProgramWithSource(g->context, 1, &(const char *){p->source}, &p->source_bytes, NULL);
    if (build(g)) {
        if (cache) save_binary(g, path);
        return 1;
    }
    char log[400] = "";
    size_t bytes = 0;
    char *whole = NULL;
    if (g->program) g->cl.GetProgramBuildInfo(g->program, g->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    if (bytes && (whole = calloc(1, bytes + 1))) {
        g->cl.GetProgramBuildInfo(g->program, g->device, CL_PROGRAM_BUILD_LOG, bytes, whole, NULL);
        snprintf(log, sizeof log, "%s", whole);
    }
    free(whole);
    return fail(error, error_len, "OpenCL: the driver cannot compile the kernels", log);
}

/* --- the launches, read from their lines ----------------------------------------------------------------------- */

/* Read the next word of a line; 0 at its end. */
static int next_word(const char **at, char word[MAX_WORD]) {
    size_t n = strspn(*at, " ");
    *at += n;
    n = strcspn(*at, " \n");
    if (!n || n >= MAX_WORD) return 0;
    memcpy(word, *at, n);
    word[n] = 0;
    *at += n;
    return 1;
}

static int next_number(const char **at, uint64_t *number) {
    char word[MAX_WORD];
    if (!next_word(at, word)) return 0;
    *number = strtoull(word, NULL, 10);
    return 1;
}

static int make_buffer(pconv_gpu *g, cl_object *buffer, uint64_t elems) {
    *buffer = g->cl.CreateBuffer(g->context, CL_MEM_READ_WRITE, (size_t)(elems ? elems : 1) * g->elem_bytes, NULL, NULL);
    return *buffer != NULL;
}

static cl_object *find_buffer(pconv_gpu *g, const char *name) {
    static const char *const kinds[] = {"input", "output"};
    if (!strcmp(name, "arena")) return &g->arena;
    for (int kind = 0; kind < 2; kind++) {
        size_t n = strlen(kinds[kind]);
        int i = strncmp(name, kinds[kind], n) ? -1 : atoi(name + n);
        if (i >= 0 && i < g->counts[kind]) return &g->buffers[kind][i];
    }
    return NULL;
}

static int read_tensor(pconv_gpu *g, const char *line, int kind) {
    uint64_t elems;
    int i = g->counts[kind];
    if (i == MAX_BUFFERS || !next_number(&line, &elems)) return 0;
    g->elems[kind][i] = (int64_t)elems;
    g->counts[kind]++;
    return make_buffer(g, &g->buffers[kind][i], elems);
}

static int read_launch(pconv_gpu *g, const char *line) {
    char word[MAX_WORD];
    uint64_t sizes[4], number;
    if (!next_word(&line, word)) return 0;
    if (g->launch_count == g->launch_room) {
        g->launch_room = 2 * g->launch_room + 16;
        launch *more = realloc(g->launches, (size_t)g->launch_room * sizeof *more);
        if (!more) return 0;
        g->launches = more;
    }
    launch *l = &g->launches[g->launch_count];
    l->layer = NULL;
    l->kernel = g->cl.CreateKernel(g->program, word, NULL);
    if (!l->kernel) return 0;
    g->launch_count++;
    for (int i = 0; i < 4; i++)
        if (!next_number(&line, &sizes[i])) return 0;
    cl_uint argument = 0;
    int good = 1;
    for (int operand = 0; operand < 3; operand++) {
        cl_object *buffer = next_word(&line, word) ? find_buffer(g, word) : NULL;
        if (!buffer || !next_number(&line, &number)) return 0;
        good &= g->cl.SetKernelArg(l->kernel, argument++, sizeof *buffer, buffer) == CL_SUCCESS;
        good &= g->cl.SetKernelArg(l->kernel, argument++, sizeof(cl_uint), &(cl_uint){(cl_uint)number}) == CL_SUCCESS;
    }
    good &= g->cl.SetKernelArg(l->kernel, argument++, sizeof g->constants, &g->constants) == CL_SUCCESS;
    while (next_number(&line, &number))
        good &= g->cl.SetKernelArg(l->kernel, argument++, sizeof(cl_uint), &(cl_uint){(cl_uint)number}) == CL_SUCCESS;
    size_t limit = 0, local = (size_t)sizes[2];
    g->cl.GetKernelWorkGroupInfo(l->kernel, g->device, CL_KERNEL_WORK_GROUP_SIZE, sizeof limit, &limit, NULL);
    while (local > limit && local % 2 == 0 && !sizes[3]) local /= 2;
    *l = (launch){l->kernel, {(size_t)sizes[0], (size_t)sizes[1]}, {local, 1}, g->layer};
    g->layer = NULL;
    return good && l->layer && local <= limit;
}

/* Keep the name of the layer that the next line launches: all that is left of this line. */
static int read_layer(pconv_gpu *g, const char *line) {
    size_t n = strcspn(++line, "\n");
    free(g->layer);
    g->layer = calloc(1, n + 1);
    return g->layer && memcpy(g->layer, line, n);
}

static int read_line(pconv_gpu *g, const char *line) {
    char word[MAX_WORD];
    uint64_t elem_bytes, elems;
    if (!next_word(&line, word)) return 0;
    if (!strcmp(word, "layer")) return read_layer(g, line);
    if (!strcmp(word, "launch")) return read_launch(g, line);
    if (!strcmp(word, "input")) return read_tensor(g, line, 0);
    if (!strcmp(word, "output")) return read_tensor(g, line, 1);
    if (strcmp(word, "model") || !next_number(&line, &elem_bytes) || !next_number(&line, &elems)) return 0;
    g->elem_bytes = (size_t)elem_bytes;
    return make_buffer(g, &g->arena, elems);
}

static int read_launches(pconv_gpu *g, const char *text) {
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (!strchr(line, '\n') || !read_line(g, line)) return 0;
    int64_t largest = 1;
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < g->counts[kind]; i++)
            if (g->elems[kind][i] > largest) largest = g->elems[kind][i];
    g->staging = malloc((size_t)largest * sizeof(uint16_t));
    return g->staging != NULL;
}

/* --- opencl.h -------------------------------------------------------------------------------------------------- */

static int open_gpu(pconv_gpu *g, const parts *p, const char *cache, char *error, size_t error_len) {
    if (!opencl_load(&g->cl)) return fail(error, error_len, "OpenCL: this machine has no libOpenCL", "");
    if (!choose_device(g)) return fail(error, error_len, "OpenCL: this machine has no device", "");
    identify(g);
    cl_ulong limit = 0;
    g->cl.GetDeviceInfo(g->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof limit, &limit, NULL);
    if (p->constants_bytes > limit) return fail(error, error_len, "OpenCL: the weights are too large for", g->name);
    g->context = g->cl.CreateContext(NULL, 1, &g->device, NULL, NULL, NULL);
    if (g->context) g->queue = g->cl.CreateCommandQueue(g->context, g->device, 0, NULL);
    if (g->queue) g->timed_queue = g->cl.CreateCommandQueue(g->context, g->device, CL_QUEUE_PROFILING_ENABLE, NULL);
    if (g->timed_queue)
        g->constants = g->cl.CreateBuffer(g->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                                          p->constants_bytes ? p->constants_bytes : 1, (void *)(uintptr_t)p->constants, NULL);
    if (!g->constants) return fail(error, error_len, "OpenCL: no memory on", g->name);
    if (!make_program(g, p, cache, error, error_len)) return 0;
    if (!read_launches(g, p->launches)) return fail(error, error_len, "OpenCL: the model does not fit", g->name);
    return 1;
}

pconv_gpu *pconv_gpu_open(const void *pcl, size_t pcl_bytes, const char *cache, char *error, size_t error_len) {
    parts p;
    if (!pcl || !split(&p, pcl, pcl_bytes)) {
        fail(error, error_len, "OpenCL: this is no whole compiled model (.pcl)", "");
        return NULL;
    }
    pconv_gpu *g = calloc(1, sizeof *g);
    if (g && open_gpu(g, &p, cache, error, error_len)) return g;
    if (!g) fail(error, error_len, "out of memory", "");
    pconv_gpu_close(g);
    return NULL;
}

const char *pconv_gpu_manifest(const void *pcl, size_t pcl_bytes) {
    parts p;
    return pcl && split(&p, pcl, pcl_bytes) ? p.manifest : NULL;
}

const char *pconv_gpu_identity(const pconv_gpu *g) { return g->identity; }

const char *pconv_gpu_device(const pconv_gpu *g) { return g->name; }

int64_t pconv_gpu_elems(const pconv_gpu *g, int is_output, int i) {
    return i >= 0 && i < g->counts[!!is_output] ? g->elems[!!is_output][i] : -1;
}

static cl_int write_input(pconv_gpu *g, cl_object queue, int i, const float *data) {
    size_t elems = (size_t)g->elems[0][i];
    if (g->elem_bytes == sizeof(float))
        return g->cl.EnqueueWriteBuffer(queue, g->buffers[0][i], CL_TRUE, 0, elems * 4, data, 0, NULL, NULL);
    for (size_t k = 0; k < elems; k++) ((uint16_t *)g->staging)[k] = half_of(data[k]);
    return g->cl.EnqueueWriteBuffer(queue, g->buffers[0][i], CL_TRUE, 0, elems * 2, g->staging, 0, NULL, NULL);
}

static cl_int read_output(pconv_gpu *g, cl_object queue, int i, float *data) {
    size_t elems = (size_t)g->elems[1][i];
    void *to = g->elem_bytes == sizeof(float) ? (void *)data : g->staging;
    cl_int status =
        g->cl.EnqueueReadBuffer(queue, g->buffers[1][i], CL_TRUE, 0, elems * g->elem_bytes, to, 0, NULL, NULL);
    for (size_t k = 0; to != data && k < elems; k++) data[k] = float_of(((uint16_t *)to)[k]);
    return status;
}

static void take_time(pconv_gpu *g, int i, cl_object event) {
    cl_ulong start = 0, end = 0;
    g->cl.Finish(g->timed_queue);
    g->cl.GetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
    g->cl.GetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    g->cl.ReleaseEvent(event);
    g->ns[i] += (int64_t)(end - start);
}

static cl_int run_sample(pconv_gpu *g, const float *const *inputs, float *const *outputs, size_t sample) {
    cl_object queue = g->ns ? g->timed_queue : g->queue, event = NULL;
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < g->counts[0] && !status; i++)
        status = write_input(g, queue, i, inputs[i] + sample * (size_t)g->elems[0][i]);
    for (int i = 0; i < g->launch_count && !status; i++) {
        const launch *l = &g->launches[i];
        status = g->cl.EnqueueNDRangeKernel(queue, l->kernel, 2, NULL, l->global, l->local, 0, NULL, g->ns ? &event : NULL);
        if (g->ns && !status) take_time(g, i, event);
    }
    for (int i = 0; i < g->counts[1] && !status; i++)
        status = read_output(g, queue, i, outputs[i] + sample * (size_t)g->elems[1][i]);
    return status;
}

int pconv_gpu_run(pconv_gpu *g, const float *const *inputs, float *const *outputs, int batch) {
    for (int i = 0; g->ns && i < g->launch_count; i++) g->ns[i] = 0;
    for (int sample = 0; sample < batch; sample++) {
        cl_int status = run_sample(g, inputs, outputs, (size_t)sample);
        if (status) return status;
    }
    return 0;
}

int pconv_gpu_profile(pconv_gpu *g, int on) {
    free(g->ns);
    g->ns = on ? calloc((size_t)g->launch_count + 1, sizeof *g->ns) : NULL;
    return on && !g->ns ? -1 : 0;
}

int pconv_gpu_times(const pconv_gpu *g, int64_t *ns, int capacity) {
    if (!g->ns) return 0;
    for (int i = 0; i < g->launch_count && i < capacity; i++) ns[i] = g->ns[i];
    return g->launch_count;
}

const char *pconv_gpu_layer(const pconv_gpu *g, int i) {
    return i >= 0 && i < g->launch_count ? g->launches[i].layer : NULL;
}

void pconv_gpu_close(pconv_gpu *g) {
    if (!g) return;
    for (int i = 0; i < g->launch_count; i++) {
        g->cl.ReleaseKernel(g->launches[i].kernel);
        free(g->launches[i].layer);
    }
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < g->counts[kind]; i++)
            if (g->buffers[kind][i]) g->cl.ReleaseMemObject(g->buffers[kind][i]);
    if (g->arena) g->cl.ReleaseMemObject(g->arena);
    if (g->constants) g->cl.ReleaseMemObject(g->constants);
    if (g->program) g->cl.ReleaseProgram(g->program);
    if (g->timed_queue) g->cl.ReleaseCommandQueue(g->timed_queue);
    if (g->queue) g->cl.ReleaseCommandQueue(g->queue);
    if (g->context) g->cl.ReleaseContext(g->context);
    /* The library stays loaded: drivers do not take being unloaded well. */
    free(g->launches);
    free(g->layer);
    free(g->staging);
    free(g->ns);
    free(g);
}
