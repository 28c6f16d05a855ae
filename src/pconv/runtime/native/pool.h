/* A few threads that share the tasks of one job at a time. */
#ifndef PCONV_POOL_H
#define PCONV_POOL_H

#include "pconv.h"

#include <time.h>

typedef struct pool pool;

/* Independent tasks: threads take at least `grain` at a time. `thread` counts from 0, the caller. */
typedef struct {
    void (*run)(const void *context, int thread, int32_t begin, int32_t end);
    const void *context;
    int32_t tasks;
    int32_t grain;
} pool_job;

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* NULL when out of memory. `threads` counts the caller. */
pool *pool_open(int threads);

/* The number of threads in use. */
int pool_threads(const pool *);

/* Stop all workers, start threads - 1; the number of threads now in use. */
int pool_resize(pool *, int threads);

/* Keep thread i on core cores[i % count], the caller excepted; a count of 0 ends it. -1 where a core cannot be had. */
int pool_pin(pool *, const int32_t *cores, int count);

/* In a child of fork(), where the workers are gone, start them again. */
void pool_revive(pool *);

/* Run all tasks of a job; returns when the last one is done. The caller takes part. */
void pool_run(pool *, const pool_job *);

void pool_close(pool *);

#endif
