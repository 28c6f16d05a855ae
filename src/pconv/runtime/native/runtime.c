/* The functions of pconv.h on top of a generated model (model.h). No globals: all state is in pconv_model. */
#define _GNU_SOURCE
#include "pool.h"

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

struct pconv_model {
    const pconv_plan *plan;
    pool *pool;
    block arena, scratch; /* the scratch of all threads */
    const float **inputs; /* of the sample being run */
    float **outputs;
    int64_t *ns; /* per step; NULL unless profiling */
};

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

static pconv_frame frame_of(const pconv_model *m) {
    return (pconv_frame){
        (float *)m->arena.first, pconv_weights, m->inputs, m->outputs, m->scratch.first, m->plan->scratch_bytes,
    };
}

static const char *open_model(pconv_model **out, int threads) {
    if (threads < 1 || threads > PCONV_MAX_THREADS) return "threads must be 1 to 64";
    const pconv_plan *plan = pconv_chosen();
    if (!pconv_cpu_has(plan->features)) return plan->refusal;
    pconv_model *m = *out = calloc(1, sizeof *m);
    if (!m) return "out of memory";
    m->plan = plan;
    m->inputs = calloc((size_t)pconv_inputs_count + 1, sizeof *m->inputs);
    m->outputs = calloc((size_t)pconv_outputs_count + 1, sizeof *m->outputs);
    m->pool = pool_open(threads);
    if (!m->inputs || !m->outputs || !m->pool) return "out of memory";
    if (!map(&m->arena, plan->arena_bytes) || !reserve_scratch(m, threads)) return "out of memory";
    pconv_frame frame = frame_of(m);
    for (int32_t i = 0; i < plan->preparation_count; i++) pool_run(m->pool, &plan->preparation[i], &frame);
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
    unmap(&m->arena);
    unmap(&m->scratch);
    free(m->inputs);
    free(m->outputs);
    free(m->ns);
    free(m);
}

static void run_sample(pconv_model *m) {
    pconv_frame frame = frame_of(m);
    for (int32_t i = 0; i < m->plan->step_count; i++) {
        int64_t begin = m->ns ? now_ns() : 0;
        pool_run(m->pool, &m->plan->steps[i], &frame);
        if (m->ns) m->ns[i] += now_ns() - begin;
    }
}

int pconv_run(pconv_model *m, const float *const *inputs, float *const *outputs, int batch) {
    if (!m || !inputs || !outputs || batch < 1) return -1;
    pool_revive(m->pool);
    for (int32_t i = 0; m->ns && i < m->plan->step_count; i++) m->ns[i] = 0;
    for (size_t sample = 0; sample < (size_t)batch; sample++) {
        for (int32_t i = 0; i < pconv_inputs_count; i++)
            m->inputs[i] = inputs[i] + sample * elems(&pconv_inputs[i]);
        for (int32_t i = 0; i < pconv_outputs_count; i++)
            m->outputs[i] = outputs[i] + sample * elems(&pconv_outputs[i]);
        run_sample(m);
    }
    return 0;
}

int pconv_set_threads(pconv_model *m, int threads) {
    if (!m || threads < 1 || threads > PCONV_MAX_THREADS || !reserve_scratch(m, threads)) return -1;
    return pool_resize(m->pool, threads);
}

int pconv_set_affinity(pconv_model *m, const int32_t *cores, int count) {
    if (!m || count < 0 || count > PCONV_MAX_THREADS || (count && !cores)) return -1;
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
