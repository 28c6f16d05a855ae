/* What pconv_bench is, for a CPU's model (bench.c) and a GPU's (bench_gpu.c): how long a model takes where this runs,
   whole and by layer, as JSON on stdout.

   Times are nanoseconds. Two series run: one plain, for `samples_ns`, one that profiles, whose fastest run gives the
   layers' times; both are of a whole batch. The file that includes this defines the functions below; it needs no C library but bare/bare.h. */
#ifndef PCONV_BENCH_H
#define PCONV_BENCH_H

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_TENSORS = 256, MAX_RUNS = 100000, MAX_THREADS = 64, MAX_BATCH = 1024, MAX_ZONES = 256, MAX_CORES = 64, FAILED = 2 };

typedef struct {
    int threads, batch, warmup, repeat;
    const char *cpus, *input, *output, *model, *cache;
} options;

static int model_open(const options *o, char *error, size_t error_len);      /* 0, and why in `error`, on failure */
static int model_tensors(int is_output);                                     /* the number of inputs, or outputs */
static size_t model_elems(int is_output, int i);
static int model_images(void);                                               /* how many it runs best at once */
static int model_run(const float *const *inputs, float *const *outputs, int batch); /* 0 when it went well */
static int model_profile(void);                                              /* every later run keeps its layers' times */
static int model_times(int64_t *ns, int capacity);                           /* the number of layers */
static const char *model_layer(int i);
static void put_model(void);                                                 /* what runs, and on what, as members of JSON */

/* ---- Text: a buffer in front of stdout. ---- */

static char buffer[1 << 12];
static size_t filled;
static int lost; /* whether some of it could not be written */

static void flush(void) {
    for (size_t at = 0; at < filled && !lost;) {
        ssize_t done = write(1, buffer + at, filled - at);
        lost = done <= 0;
        at += lost ? 0 : (size_t)done;
    }
    filled = 0;
}

static void put(const char *text) {
    for (; *text; text++) {
        if (filled == sizeof buffer) flush();
        buffer[filled++] = *text;
    }
}

static void put_number(int64_t value) {
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    *--at = 0;
    do *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0) *--at = '-';
    put(at);
}

static void put_string(const char *text) {
    put("\"");
    for (char letter[2] = {0}; (*letter = *text); text++)
        put(*text == '"' || *text == '\\' ? "\\" : ""), put((unsigned char)*text < 32 ? " " : letter);
    put("\"");
}

static int fail(const char *what, const char *why) {
    const char *parts[] = {"pconv_bench: error: ", what, ": ", why, "\n"};
    for (int i = 0; i < 5; i++)
        if (write(2, parts[i], strlen(parts[i])) < 0) break;
    return FAILED;
}

/* ---- What the system says of itself. ---- */

/* Read a small file without its line's end; is there one? */
static int read_line(const char *path, char *text, size_t room) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, room - 1);
    close(fd);
    text[length < 0 ? 0 : length] = 0;
    text[strcspn(text, "\n")] = 0;
    return length > 0;
}

/* Join a path of which `index`, below 1000, is one part. */
static const char *numbered(const char *before, int index, const char *after) {
    static char path[128];
    char *end = path;
    for (; *before; before++) *end++ = *before;
    if (index > 99) *end++ = (char)('0' + index / 100);
    if (index > 9) *end++ = (char)('0' + index / 10 % 10);
    *end++ = (char)('0' + index % 10);
    for (; *after; after++) *end++ = *after;
    *end = 0;
    return path;
}

/* Name the processor by /proc/cpuinfo: its model's name, or an Arm's implementer and part; of the last core. */
static void put_cpu(void) {
    static const char *const keys[] = {"model name", "CPU implementer", "CPU part"};
    static char text[1 << 16];
    char *values[3] = {0};
    int fd = open("/proc/cpuinfo", O_RDONLY);
    size_t length = 0;
    for (ssize_t got; fd >= 0 && (got = read(fd, text + length, sizeof text - 1 - length)) > 0;) length += (size_t)got;
    if (fd >= 0) close(fd);
    for (char *line = text; *line;) {
        size_t all = strcspn(line, "\n"), colon = strcspn(line, ":\n");
        char *next = line + all + (line[all] != 0), *end = line + colon;
        line[all] = 0;
        while (end > line && (end[-1] == '\t' || end[-1] == ' ')) end--;
        for (int i = 0; i < 3 && colon < all; i++)
            if (strlen(keys[i]) == (size_t)(end - line) && !memcmp(line, keys[i], (size_t)(end - line)))
                values[i] = line + colon + 1 + (line[colon + 1] == ' ');
        line = next;
    }
    char name[192] = "";
    size_t filled_name = 0;
    for (int i = 0; i < 3; i++)
        for (const char *at = i == 0 || !values[0] ? values[i] : 0; at && filled_name < sizeof name - 2;) {
            if (!*at) {
                name[filled_name++] = ' ';
                break;
            }
            name[filled_name++] = *at++;
        }
    name[filled_name ? filled_name - 1 : 0] = 0;
    put("\"cpu\": ");
    put_string(filled_name ? name : "unknown");
    put(", ");
}

static void put_state(const char *name) {
    char kind[64], value[64];
    put("\"");
    put(name);
    put("\": {\"temperature_mc\": {");
    for (int zone = 0, any = 0; zone < MAX_ZONES; zone++) {
        if (!read_line(numbered("/sys/class/thermal/thermal_zone", zone, "/type"), kind, sizeof kind)) continue;
        if (!read_line(numbered("/sys/class/thermal/thermal_zone", zone, "/temp"), value, sizeof value)) continue;
        put(any++ ? ", \"" : "\"");
        put(numbered("", zone, "-")); /* several zones may be of one kind */
        put(kind);
        put("\": ");
        put(value);
    }
    put("}, \"frequency_khz\": {");
    for (int core = 0, any = 0; core < MAX_CORES; core++) {
        const char *path = numbered("/sys/devices/system/cpu/cpu", core, "/cpufreq/scaling_cur_freq");
        if (!read_line(path, value, sizeof value)) continue;
        put(any++ ? ", " : "");
        put_string(numbered("cpu", core, ""));
        put(": ");
        put(value);
    }
    put("}}");
}

static int64_t clock_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* ---- Options. ---- */

/* Read a number, and move behind it; -1 when there is none. */
static int number(const char **text) {
    int value = -1;
    for (; **text >= '0' && **text <= '9' && value < MAX_RUNS; ++*text)
        value = (value < 0 ? 0 : value) * 10 + (**text - '0');
    return value;
}

static int whole_number(const char *text, int least, int most, int *value) {
    *value = number(&text);
    return !*text && *value >= least && *value <= most;
}

static int pin(const char *cpus) {
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    while (*cpus) {
        int first = number(&cpus), last = first;
        if (*cpus == '-') cpus++, last = number(&cpus);
        if (first < 0 || last < first || last >= 1024 || (*cpus && *cpus != ',')) return 0;
        for (int cpu = first; cpu <= last; cpu++) CPU_SET(cpu, &set);
        cpus += *cpus == ',';
    }
    return sched_setaffinity(0, sizeof set, &set) == 0;
#else
    return (void)cpus, 0;
#endif
}

static const char *parse(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        int good = *value != 0;
        if (!strcmp(name, "--threads")) good = whole_number(value, 1, MAX_THREADS, &o->threads);
        else if (!o->model && !strcmp(name, "--batch")) good = whole_number(value, 1, MAX_BATCH, &o->batch);
        else if (!strcmp(name, "--warmup")) good = whole_number(value, 0, MAX_RUNS, &o->warmup);
        else if (!strcmp(name, "--repeat")) good = whole_number(value, 1, MAX_RUNS, &o->repeat);
        else if (!strcmp(name, "--cpus")) o->cpus = value;
        else if (!strcmp(name, "--input")) o->input = value;
        else if (!strcmp(name, "--output")) o->output = value;
        else if (o->model && !strcmp(name, "--model")) o->model = value;
        else if (o->model && !strcmp(name, "--cache")) o->cache = value;
        else good = 0;
        if (!good) return name;
    }
    return NULL;
}

/* ---- Tensors. ---- */

static float *tensors[2][MAX_TENSORS];
static int batch;

/* Count the bytes of a tensor of all samples. */
static size_t bytes_of(int is_output, int i) { return sizeof(float) * model_elems(is_output, i) * (size_t)batch; }

static int make_tensors(int is_output, int count) {
    uint32_t state = 1;
    for (int i = 0; i < count; i++) {
        size_t bytes = bytes_of(is_output, i);
        float *made = tensors[is_output][i] = calloc(1, bytes ? bytes : 1);
        if (!made) return 0;
        for (size_t e = 0; !is_output && e < bytes / sizeof(float); e++) {
            state = state * 1664525u + 1013904223u;
            made[e] = (float)(state >> 8) / (1 << 23) - 1.0f;
        }
    }
    return 1;
}

/* Read or write the tensors as one file; was it all of it? */
static int transfer(int is_output, int count, const char *path) {
    int fd = is_output ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644) : open(path, O_RDONLY);
    int good = fd >= 0;
    for (int i = 0; good && i < count; i++) {
        char *at = (char *)tensors[is_output][i], *end = at + bytes_of(is_output, i);
        while (good && at < end) {
            ssize_t done = is_output ? write(fd, at, (size_t)(end - at)) : read(fd, at, (size_t)(end - at));
            good = done > 0;
            at += good ? done : 0;
        }
    }
    char more;
    if (good && !is_output) good = read(fd, &more, 1) == 0;
    if (fd >= 0) close(fd);
    return good;
}

/* ---- The runs. ---- */

static int run(void) { return model_run((const float *const *)tensors[0], tensors[1], batch); }

static int put_samples(const options *o) {
    for (int i = 0; i < o->warmup; i++)
        if (run()) return 0;
    put("\"samples_ns\": [");
    for (int i = 0; i < o->repeat; i++) {
        int64_t start = clock_ns();
        if (run()) return 0;
        int64_t took = clock_ns() - start;
        put(i ? ", " : "");
        put_number(took);
    }
    put("], ");
    return 1;
}

static int put_layers(const options *o) {
    int count = model_times(NULL, 0);
    size_t bytes = sizeof(int64_t) * ((size_t)count + 1);
    int64_t *ns = calloc(1, bytes), *best = calloc(1, bytes), least = INT64_MAX;
    if (!ns || !best) return 0;
    for (int i = 0; i < o->repeat; i++) {
        if (run()) return 0;
        int64_t sum = 0;
        model_times(ns, count);
        for (int layer = 0; layer < count; layer++) sum += ns[layer];
        if (sum >= least) continue;
        least = sum;
        memcpy(best, ns, bytes);
    }
    put("\"layers\": [");
    for (int i = 0; i < count; i++) {
        put(i ? ", {\"name\": " : "{\"name\": ");
        put_string(model_layer(i));
        put(", \"ns\": ");
        put_number(best[i]);
        put("}");
    }
    put("], ");
    free(ns);
    free(best);
    return 1;
}

/* Do all of it, and return what main does; `o` holds the defaults. */
static int bench(int argc, char **argv, const char *usage, options o) {
    const char *wrong = parse(argc, argv, &o);
    if (wrong) return fail(wrong, usage);
    if (o.cpus && !pin(o.cpus)) return fail(o.cpus, "the system does not let this run on these cores");
    char error[512] = "";
    if (!model_open(&o, error, sizeof error)) return fail("open", error);
    batch = o.batch ? o.batch : model_images();
    int inputs = model_tensors(0), outputs = model_tensors(1);
    if (inputs > MAX_TENSORS || outputs > MAX_TENSORS) return fail("tensors", "at most 256 inputs and outputs");
    if (!make_tensors(0, inputs) || !make_tensors(1, outputs)) return fail("open", "out of memory");
    if (o.input && !transfer(0, inputs, o.input)) return fail(o.input, "not a file of the inputs' size");
    put("{");
    put_model();
    put("\"batch\": ");
    put_number(batch);
    put(", \"cpus\": ");
    put_string(o.cpus ? o.cpus : "");
    put(", ");
    put_cpu();
    put_state("before");
    put(", ");
    if (!put_samples(&o)) return fail("run", "the model failed");
    if (model_profile() || !put_layers(&o)) return fail("profile", "the model failed");
    put_state("after");
    put("}\n");
    flush();
    if (lost) return fail("stdout", "cannot be written");
    if (o.output && !transfer(1, outputs, o.output)) return fail(o.output, "cannot be written");
    return 0;
}

#endif
