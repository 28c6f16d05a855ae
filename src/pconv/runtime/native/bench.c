/* pconv_bench: how long a model takes where this runs, whole and by layer, as JSON on stdout.

   Linked with one model, on Linux and Android without a C library (bare/bare.h). Times are nanoseconds. Two
   series run: one plain, for `samples_ns`, one that profiles, whose fastest run gives the layers' times. */
#define _GNU_SOURCE
#include "model.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_TENSORS = 16, MAX_RUNS = 100000, MAX_ZONES = 64, MAX_CORES = 64, FAILED = 2 };

static const char usage[] =
    "usage: pconv_bench [--threads N] [--warmup N] [--repeat N] [--cpus 4-7,0] [--input FILE] [--output FILE]\n"
    "  --cpus runs on these cores only; --input and --output are raw float32, all tensors one after another.\n";

typedef struct {
    int threads, warmup, repeat;
    const char *cpus, *input, *output;
} options;

/* ---- Text: a buffer in front of stdout. ---- */

static char buffer[1 << 12];
static size_t filled;

static void flush(void) {
    for (size_t at = 0; at < filled;) {
        ssize_t done = write(1, buffer + at, filled - at);
        if (done <= 0) break;
        at += (size_t)done;
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

/* Join a path of which `index` is one part. */
static const char *numbered(const char *before, int index, const char *after) {
    static char path[128];
    char *end = path;
    for (; *before; before++) *end++ = *before;
    if (index > 9) *end++ = (char)('0' + index / 10);
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
        if (!strcmp(name, "--threads")) good = whole_number(value, 1, PCONV_MAX_THREADS, &o->threads);
        else if (!strcmp(name, "--warmup")) good = whole_number(value, 0, MAX_RUNS, &o->warmup);
        else if (!strcmp(name, "--repeat")) good = whole_number(value, 1, MAX_RUNS, &o->repeat);
        else if (!strcmp(name, "--cpus")) o->cpus = value;
        else if (!strcmp(name, "--input")) o->input = value;
        else if (!strcmp(name, "--output")) o->output = value;
        else good = 0;
        if (!good) return name;
    }
    return NULL;
}

/* ---- Tensors. ---- */

static float *tensors[2][MAX_TENSORS];

static size_t bytes_of(int is_output, int i) {
    pconv_tensor info;
    size_t elems = 1;
    pconv_info(is_output, i, &info);
    for (int32_t d = 0; d < info.rank; d++) elems *= (size_t)info.dims[d];
    return sizeof(float) * elems;
}

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

static void run(pconv_model *model) {
    pconv_run(model, (const float *const *)tensors[0], tensors[1], 1);
}

static void put_samples(pconv_model *model, const options *o) {
    for (int i = 0; i < o->warmup; i++) run(model);
    put("\"samples_ns\": [");
    for (int i = 0; i < o->repeat; i++) {
        int64_t start = clock_ns();
        run(model);
        int64_t took = clock_ns() - start;
        put(i ? ", " : "");
        put_number(took);
    }
    put("], ");
}

static int put_layers(pconv_model *model, const options *o) {
    const pconv_plan *plan = pconv_chosen();
    size_t bytes = sizeof(int64_t) * ((size_t)plan->step_count + 1);
    int64_t *ns = calloc(1, bytes), *best = calloc(1, bytes), least = INT64_MAX;
    if (!ns || !best || pconv_profile(model, 1)) return 0;
    for (int i = 0; i < o->repeat; i++) {
        run(model);
        int64_t sum = 0;
        for (int layer = 0, n = pconv_times(model, ns, plan->step_count); layer < n; layer++) sum += ns[layer];
        if (sum >= least) continue;
        least = sum;
        memcpy(best, ns, bytes);
    }
    put("\"layers\": [");
    for (int32_t i = 0; i < plan->step_count; i++) {
        put(i ? ", {\"name\": " : "{\"name\": ");
        put_string(plan->steps[i].name);
        put(", \"ns\": ");
        put_number(best[i]);
        put("}");
    }
    put("], ");
    free(ns);
    free(best);
    return 1;
}

int main(int argc, char **argv) {
    options o = {.threads = 1, .warmup = 5, .repeat = 50};
    const char *wrong = parse(argc, argv, &o);
    if (wrong) return fail(wrong, usage);
    if (o.cpus && !pin(o.cpus)) return fail(o.cpus, "the system does not let this run on these cores");
    int inputs = pconv_input_count(), outputs = pconv_output_count();
    if (inputs > MAX_TENSORS || outputs > MAX_TENSORS) return fail("tensors", "at most 16 inputs and outputs");
    char error[256];
    pconv_model *model = pconv_open(o.threads, error, sizeof error);
    if (!model) return fail("open", error);
    if (!make_tensors(0, inputs) || !make_tensors(1, outputs)) return fail("open", "out of memory");
    if (o.input && !transfer(0, inputs, o.input)) return fail(o.input, "not a file of the inputs' size");
    put("{\"manifest\": ");
    put(pconv_manifest());
    put(", \"threads\": ");
    put_number(pconv_set_threads(model, o.threads));
    put(", \"cpus\": ");
    put_string(o.cpus ? o.cpus : "");
    put(", ");
    put_cpu();
    put_state("before");
    put(", ");
    put_samples(model, &o);
    if (!put_layers(model, &o)) return fail("profile", "out of memory");
    put_state("after");
    put("}\n");
    flush();
    if (o.output && !transfer(1, outputs, o.output)) return fail(o.output, "cannot be written");
    pconv_close(model);
    return 0;
}
