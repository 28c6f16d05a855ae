/* Tasks are handed out by one atomic word, the ticket:

       epoch (24 bits) | chunks (20 bits) | next chunk (20 bits)

   fetch_add(1) claims a chunk and tells in the same breath of which job. The job that a claimed chunk belongs
   to cannot change before that chunk is reported done, so a worker that comes late, or never (descheduled,
   lost in a fork), delays nothing: whoever is awake does the work. */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIELD_BITS = 20, MAX_CHUNKS = 2047, STACK_BYTES = 2 << 20, LINE_BYTES = 128 };
#define FIELD_MASK ((UINT64_C(1) << FIELD_BITS) - 1)
#define CHUNK(ticket) ((ticket) & FIELD_MASK)
#define CHUNKS(ticket) ((ticket) >> FIELD_BITS & FIELD_MASK)
#define EPOCH(ticket) ((ticket) >> 2 * FIELD_BITS)

/* A worker between two steps spins this long, then sleeps and leaves its core to others. */
#define IDLE_SPIN_NS 50000
/* The caller waits for tasks that are running already: sleeping pays only for long ones. */
#define BARRIER_SPIN_NS 500000

struct pool {
    _Alignas(LINE_BYTES) _Atomic uint64_t ticket;
    _Alignas(LINE_BYTES) _Atomic uint64_t left; /* chunks of this job not yet done */
    _Alignas(LINE_BYTES) const pconv_step *step; /* the job: written only while `left` is 0 */
    const pconv_frame *frame;
    int32_t bounds[MAX_CHUNKS + 1]; /* chunk i is tasks bounds[i] to bounds[i + 1] */
    bool spins;
    int workers;
    pid_t owner;
    atomic_int sleepers; /* workers asleep, or about to be */
    atomic_bool caller_sleeps, stop;
    pthread_mutex_t mutex;
    pthread_cond_t job_ready, job_done;
    pthread_t threads[PCONV_MAX_THREADS - 1];
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most cores, and then hammers the line */
#endif
}

static bool job_is_new(pool *p, uint64_t seen) {
    return EPOCH(atomic_load(&p->ticket)) != seen || atomic_load(&p->stop);
}

static bool job_is_done(pool *p, uint64_t unused) {
    (void)unused;
    return atomic_load(&p->left) == 0;
}

/* Wait for `ready` without sleeping, at most `limit_ns`; was it? */
static bool spin(pool *p, bool (*ready)(pool *, uint64_t), uint64_t argument, int64_t limit_ns) {
    if (ready(p, argument)) return true;
    if (!p->spins) return false;
    for (int64_t end = now_ns() + limit_ns; now_ns() < end;)
        for (int i = 0; i < 16; i++) {
            relax();
            if (ready(p, argument)) return true;
        }
    return false;
}

/* Do chunks until none is left; the epoch of the job that had none. */
static uint64_t work(pool *p) {
    for (uint64_t done = 0;; done++) {
        uint64_t ticket = atomic_fetch_add(&p->ticket, 1);
        if (CHUNK(ticket) >= CHUNKS(ticket)) {
            if (done && atomic_fetch_sub(&p->left, done) == done && atomic_load(&p->caller_sleeps)) {
                pthread_mutex_lock(&p->mutex);
                pthread_cond_signal(&p->job_done);
                pthread_mutex_unlock(&p->mutex);
            }
            return EPOCH(ticket);
        }
        const int32_t *bounds = p->bounds + CHUNK(ticket);
        p->step->run(p->frame, bounds[0], bounds[1]);
    }
}

static void *worker(void *argument) {
    pool *p = argument;
    for (uint64_t seen = 0; !atomic_load(&p->stop); seen = work(p)) {
        if (spin(p, job_is_new, seen, IDLE_SPIN_NS)) continue;
        pthread_mutex_lock(&p->mutex);
        atomic_fetch_add(&p->sleepers, 1);
        while (!job_is_new(p, seen)) pthread_cond_wait(&p->job_ready, &p->mutex);
        atomic_fetch_sub(&p->sleepers, 1);
        pthread_mutex_unlock(&p->mutex);
    }
    return NULL;
}

/* Wake at most `wanted` sleepers. Whoever is just falling asleep sees the new ticket first, or is counted. */
static void wake(pool *p, uint64_t wanted) {
    if (atomic_load(&p->sleepers) == 0) return;
    pthread_mutex_lock(&p->mutex);
    if (wanted >= (uint64_t)p->workers) pthread_cond_broadcast(&p->job_ready);
    else
        while (wanted--) pthread_cond_signal(&p->job_ready);
    pthread_mutex_unlock(&p->mutex);
}

/* Cut the tasks into chunks that get smaller: long ones first, which share input in one core's cache, short ones
   last, so that all threads end together. Their number. */
static uint64_t cut(pool *p, int64_t tasks, int64_t grain) {
    uint64_t chunks = 0;
    for (int64_t begin = 0; begin < tasks;) {
        int64_t size = (tasks - begin) / (2 * (p->workers + 1));
        if (size < grain) size = grain;
        if (chunks + 1 == MAX_CHUNKS || size > tasks - begin) size = tasks - begin;
        p->bounds[chunks++] = (int32_t)begin;
        begin += size;
    }
    p->bounds[chunks] = (int32_t)tasks;
    return chunks;
}

void pool_run(pool *p, const pconv_step *step, const pconv_frame *frame) {
    int64_t grain = step->grain > 0 ? step->grain : 1;
    if (p->workers == 0 || step->tasks <= grain) {
        step->run(frame, 0, step->tasks);
        return;
    }
    uint64_t epoch = EPOCH(atomic_load(&p->ticket)) + 1; /* wraps around, which the shift below cuts off */
    p->step = step;
    p->frame = frame;
    uint64_t chunks = cut(p, step->tasks, grain);
    atomic_store(&p->left, chunks);
    atomic_store(&p->ticket, epoch << 2 * FIELD_BITS | chunks << FIELD_BITS);
    wake(p, chunks - 1);
    work(p);
    if (spin(p, job_is_done, 0, BARRIER_SPIN_NS)) return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->caller_sleeps, true);
    while (!job_is_done(p, 0)) pthread_cond_wait(&p->job_done, &p->mutex);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->mutex);
}

static int cpus(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static int start_workers(pool *p, int threads) {
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->job_ready, NULL);
    pthread_cond_init(&p->job_done, NULL);
    p->owner = getpid();
    p->spins = threads <= cpus(); /* with fewer cores than threads, spinning keeps others from working */
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* some systems give 128 KiB otherwise */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for our workers */
    for (int i = 1; i < threads && !pthread_create(&p->threads[p->workers], &attributes, worker, p); i++)
        p->workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return p->workers + 1;
}

static void stop_workers(pool *p) {
    if (p->owner != getpid()) return; /* a forked child has no workers to stop */
    atomic_store(&p->stop, true);
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->job_ready);
    pthread_mutex_unlock(&p->mutex);
    for (int i = 0; i < p->workers; i++) pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->job_done);
    pthread_cond_destroy(&p->job_ready);
    pthread_mutex_destroy(&p->mutex);
}

pool *pool_open(int threads) {
    void *p = NULL;
    if (posix_memalign(&p, LINE_BYTES, sizeof(pool))) return NULL;
    start_workers(p, threads);
    return p;
}

int pool_resize(pool *p, int threads) {
    stop_workers(p);
    return start_workers(p, threads);
}

void pool_revive(pool *p) {
    if (p->workers && p->owner != getpid()) start_workers(p, p->workers + 1);
}

void pool_close(pool *p) {
    if (!p) return;
    stop_workers(p);
    free(p);
}
