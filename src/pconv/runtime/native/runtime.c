/* The functions of pconv.h on top of a generated model (model.h). No globals: all state is in pconv_model.

   A group is what the plan runs side by side: a sample, or several. One alone is run by all threads, a step at a time,
   where that is faster than on the caller's alone. Of a batch every thread runs whole groups, in memory of its own: no
   barriers, and no thread reads what another core wrote. */
#define _GNU_SOURCE
#include "model.h"
#include "pool.h"
#include "sharing.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* Memory on a huge page's border, zero at first, with slack before and behind. */
typedef struct {
    void *mapping; /* NULL where nothing was taken */
    size_t mapping_bytes;
    unsigned char *first;
} block;

/* What a sample, or the samples that lie side by side, need while they are run. */
typedef struct {
    block arena;
    const float **inputs;
    float **outputs;
} slot;

struct pconv_model {
    const pconv_plan *plan;
    pool *pool;
    slot slots[PCONV_MAX_THREADS]; /* of each thread; all but the first are there from the first batch on */
    block scratch;                 /* of all threads */
    block prepared;                /* for all samples */
    sharing sharing;               /* of single samples */
    int64_t *ns;                   /* per step; NULL unless profiling */
};

typedef struct {
    const float *const *inputs;
    float *const *outputs;
    size_t count;
} batch;

typedef struct {
    const pconv_step *step;
    const pconv_frame *frame;
} step_job;

typedef struct {
    pconv_model *model;
    const batch *all;
    size_t end;
    atomic_size_t *next;
} groups_job;

/* How a step is run. */
typedef void (*runner)(pconv_model *, int32_t step, const pconv_frame *);

int pconv_abi(void) { return PCONV_ABI; }

const pconv_plan *pconv_chosen(void) {
    const pconv_plan *const *plan = pconv_plans;
    while (plan[1] && !pconv_cpu_has((*plan)->features)) plan++;
    return *plan;
}

const char *pconv_manifest(void) { return pconv_chosen()->manifest; }

int pconv_input_count(void) { return pconv_inputs_count; }

int pconv_output_count(void) { return pconv_outputs_count; }

int pconv_info(int is_output, int i, pconv_tensor *info) {
    if (!info || i < 0 || i >= (is_output ? pconv_outputs_count : pconv_inputs_count)) return -1;
    *info = is_output ? pconv_outputs[i] : pconv_inputs[i];
    return 0;
}

static size_t elems(const pconv_tensor *tensor) {
    size_t n = 1;
    for (int32_t i = 0; i < tensor->rank; i++) n *= (size_t)tensor->dims[i];
    return n;
}

static void unmap(block *b) {
    if (b->mapping) munmap(b->mapping, b->mapping_bytes);
}

/* Take so many bytes instead of what a block had; 0 when there is no memory, and then it stays as it was. */
static int map(block *b, size_t bytes) {
    size_t all = HUGE_PAGE_BYTES + bytes + PCONV_SLACK_BYTES;
    void *mapping = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return 0;
    unmap(b);
    /* Mappings begin on a multiple of the slack, so the next border behind it is never too far. */
    uintptr_t first = (uintptr_t)mapping + PCONV_SLACK_BYTES + HUGE_PAGE_BYTES - 1;
    *b = (block){mapping, all, (unsigned char *)(first & ~(uintptr_t)(HUGE_PAGE_BYTES - 1))};
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE_BYTES / 4) madvise(mapping, all, MADV_HUGEPAGE);
#endif
    return 1;
}

/* The same for what so many threads need for themselves. */
static int reserve_scratch(pconv_model *m, int threads) {
    return !m->plan->scratch_bytes || map(&m->scratch, m->plan->scratch_bytes * (size_t)threads);
}

static pconv_frame frame_of(const pconv_model *m, const slot *s, int thread) {
    size_t bytes = m->plan->scratch_bytes;
    unsigned char *scratch = m->scratch.first + bytes * (size_t)thread;
    return (pconv_frame){
        (float *)s->arena.first, (float *)m->prepared.first, pconv_weights, s->inputs, s->outputs, scratch, bytes, 0, 1,
    };
}

static void run_tasks(const void *context, int thread, int32_t begin, int32_t end) {
    const step_job *job = context;
    pconv_frame own = *job->frame;
    own.scratch += own.scratch_bytes * (size_t)thread;
    job->step->run(&own, begin, end);
}

static void run_step(pconv_model *m, const pconv_step *step, const pconv_frame *frame) {
    step_job job = {step, frame};
    pool_run(m->pool, &(pool_job){run_tasks, &job, step->tasks, step->grain});
}

/* Make a slot ready, once; false when there is no memory. */
static bool open_slot(const pconv_model *m, slot *s) {
    if (s->arena.mapping) return true;
    if (!s->inputs) s->inputs = calloc((size_t)pconv_inputs_count + 1, sizeof *s->inputs);
    if (!s->outputs) s->outputs = calloc((size_t)pconv_outputs_count + 1, sizeof *s->outputs);
    return s->inputs && s->outputs && map(&s->arena, m->plan->arena_bytes);
}

static void close_slot(slot *s) {
    unmap(&s->arena);
    free(s->inputs);
    free(s->outputs);
}

static const char *open_model(pconv_model **out, int threads) {
    if (threads < 1 || threads > PCONV_MAX_THREADS) return "threads must be 1 to 64";
    const pconv_plan *plan = pconv_chosen();
    if (!pconv_cpu_has(plan->features)) return plan->refusal;
    pconv_model *m = *out = calloc(1, sizeof *m);
    if (!m) return "out of memory";
    m->plan = plan;
    m->pool = pool_open(threads);
    if (!m->pool || !reserve_scratch(m, threads) || !open_slot(m, &m->slots[0])) return "out of memory";
    if (!map(&m->prepared, plan->prepared_bytes)) return "out of memory";
    pconv_frame frame = frame_of(m, &m->slots[0], 0);
    for (int32_t i = 0; i < plan->preparation_count; i++) run_step(m, &plan->preparation[i], &frame);
    return NULL;
}

pconv_model *pconv_open(int threads, char *error, size_t error_len) {
    pconv_model *m = NULL;
    const char *why = open_model(&m, threads);
    if (!why) return m;
    for (size_t i = 0; error && i < error_len; i++) {
        error[i] = i + 1 < error_len ? *why : 0;
        if (!error[i]) break;
        why++;
    }
    pconv_close(m);
    return NULL;
}

void pconv_close(pconv_model *m) {
    if (!m) return;
    pool_close(m->pool);
    for (int i = 0; i < PCONV_MAX_THREADS; i++) close_slot(&m->slots[i]);
    unmap(&m->scratch);
    unmap(&m->prepared);
    free(m->ns);
    free(m);
}

/* Put a sample of a batch into a slot. */
static void point(slot *s, const batch *all, size_t sample) {
    for (int32_t i = 0; i < pconv_inputs_count; i++)
        s->inputs[i] = all->inputs[i] + sample * elems(&pconv_inputs[i]);
    for (int32_t i = 0; i < pconv_outputs_count; i++)
        s->outputs[i] = all->outputs[i] + sample * elems(&pconv_outputs[i]);
}

/* Run a step by all threads; its time may be asked for. */
static void together(pconv_model *m, int32_t i, const pconv_frame *frame) {
    int64_t begin = m->ns ? now_ns() : 0;
    run_step(m, &m->plan->steps[i], frame);
    if (m->ns) m->ns[i] += now_ns() - begin;
}

/* Run a step on this thread. */
static void alone(pconv_model *m, int32_t i, const pconv_frame *frame) {
    const pconv_step *step = &m->plan->steps[i];
    step->run(frame, 0, step->tasks);
}

/* Run some steps for each of the samples from `first` on that lie side by side, as many as there are. */
static void run_each(pconv_model *m, slot *s, pconv_frame *frame, const batch *all, size_t first,
                     int32_t begin, int32_t end, runner run) {
    for (int32_t image = 0; image < m->plan->images && first + (size_t)image < all->count; image++) {
        point(s, all, first + (size_t)image);
        frame->image = image;
        for (int32_t i = begin; i < end; i++) run(m, i, frame);
    }
}

/* Run the samples of a group: part by part. */
static void run_group(pconv_model *m, int thread, const batch *all, size_t group, runner run) {
    const pconv_plan *plan = m->plan;
    slot *own = &m->slots[thread];
    pconv_frame frame = frame_of(m, own, thread);
    frame.threads = run == together ? pool_threads(m->pool) : 1;
    size_t first = group * (size_t)plan->images;
    int32_t folded = plan->before, behind = folded + plan->folded;
    run_each(m, own, &frame, all, first, 0, folded, run);
    frame.image = 0;
    for (int32_t i = folded; i < behind; i++) run(m, i, &frame);
    run_each(m, own, &frame, all, first, behind, plan->step_count, run);
}

/* Run a group the way that is faster. Profiles are of steps that all threads share. */
static void run_faster(pconv_model *m, const batch *all, size_t group) {
    if (m->ns || pool_threads(m->pool) == 1) {
        run_group(m, 0, all, group, together);
        return;
    }
    int64_t begin = now_ns();
    run_group(m, 0, all, group, m->sharing.alone ? alone : together);
    sharing_took(&m->sharing, now_ns() - begin);
}

/* Run groups that no thread has begun, until there are none. */
static void run_groups(const void *context, int thread, int32_t begin, int32_t end) {
    (void)begin, (void)end; /* a task for each thread: to come and take groups */
    const groups_job *job = context;
    for (size_t group; (group = atomic_fetch_add(job->next, 1)) < job->end;)
        run_group(job->model, thread, job->all, group, alone);
}

/* Run a batch by whole groups, without the last few where these would leave more than a quarter of the threads idle:
   together they are faster then. How many were run. */
static size_t run_apart(pconv_model *m, const batch *all, size_t groups) {
    size_t threads = (size_t)pool_threads(m->pool), rest = groups % threads;
    if (4 * rest < 3 * threads) groups -= rest;
    if (threads == 1 || m->ns || !groups) return 0;
    for (size_t i = 0; i < threads; i++)
        if (!open_slot(m, &m->slots[i])) return 0;
    atomic_size_t next = 0;
    groups_job job = {m, all, groups, &next};
    pool_run(m->pool, &(pool_job){run_groups, &job, (int32_t)threads, 1});
    return groups;
}

int pconv_run(pconv_model *m, const float *const *inputs, float *const *outputs, int count) {
    if (!m || !inputs || !outputs || count < 1) return -1;
    pool_revive(m->pool);
    for (int32_t i = 0; m->ns && i < m->plan->step_count; i++) m->ns[i] = 0;
    batch all = {inputs, outputs, (size_t)count};
    size_t images = (size_t)m->plan->images, groups = (all.count + images - 1) / images;
    for (size_t group = run_apart(m, &all, groups); group < groups; group++) run_faster(m, &all, group);
    return 0;
}

int pconv_set_threads(pconv_model *m, int threads) {
    if (!m || threads < 1 || threads > PCONV_MAX_THREADS || !reserve_scratch(m, threads)) return -1;
    m->sharing = (sharing){0};
    return pool_resize(m->pool, threads);
}

int pconv_set_affinity(pconv_model *m, const int32_t *cores, int count) {
    if (!m || count < 0 || count > PCONV_MAX_THREADS || (count && !cores)) return -1;
    m->sharing = (sharing){0};
    return pool_pin(m->pool, cores, count);
}

int pconv_profile(pconv_model *m, int on) {
    if (!m) return -1;
    free(m->ns);
    m->ns = on ? calloc((size_t)m->plan->step_count + 1, sizeof *m->ns) : NULL;
    return on && !m->ns ? -1 : 0;
}

int pconv_times(pconv_model *m, int64_t *ns, int capacity) {
    if (!m || !m->ns) return 0;
    for (int32_t i = 0; ns && i < m->plan->step_count && i < capacity; i++) ns[i] = m->ns[i];
    return m->plan->step_count;
}
