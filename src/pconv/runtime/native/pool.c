/* Every thread owns a range of a job's tasks, the same part of each job: what a thread wrote, the next job finds in
   that core's cache. A range is one atomic word, begin and end: its owner takes from the front, half of the rest
   at a time; a thread that has none left takes from the back of another's.

   A word that is not empty belongs to the present job: a job ends when all its tasks are reported done, and its
   successor writes the words only then. So a worker that comes late, or never (descheduled, lost in a fork), delays
   nothing: whoever is awake does its work. */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK_BYTES = 2 << 20, LINE_BYTES = 128 };
#define RANGE(begin, end) ((uint64_t)(begin) << 32 | (uint32_t)(end))
#define BEGIN(range) ((int32_t)((range) >> 32))
#define END(range) ((int32_t)(uint32_t)(range))

/* A worker between two jobs spins this long, then sleeps and leaves its core to others. Waking a core that fell
   asleep takes longer than many a layer, so this bridges the jobs of a run that one thread does alone. */
#define IDLE_SPIN_NS 1000000
/* The caller waits for tasks that are running already: sleeping pays only for long ones. */
#define BARRIER_SPIN_NS 500000

typedef struct {
    _Alignas(LINE_BYTES) _Atomic uint64_t range; /* the tasks of one thread that nobody has taken yet */
    pool *pool;
    int number;
} seat;

struct pool {
    seat seats[PCONV_MAX_THREADS]; /* the caller's is the first */
    _Alignas(LINE_BYTES) atomic_uint epoch; /* counts the jobs */
    _Alignas(LINE_BYTES) _Atomic int64_t left; /* tasks of this job not yet reported done */
    _Alignas(LINE_BYTES) const pool_job *job; /* written only while `left` is 0 */
    atomic_int grain; /* a late worker may read it while the next job writes it */
    bool spins;
    int workers;
    pid_t owner;
    atomic_int sleepers; /* workers asleep, or about to be */
    atomic_bool caller_sleeps, stop;
    pthread_mutex_t mutex;
    pthread_cond_t job_ready, job_done;
    pthread_t threads[PCONV_MAX_THREADS - 1];
    /* What outlives a change of threads: */
    int32_t pinned[PCONV_MAX_THREADS]; /* the core of each thread */
    int pinned_count; /* 0: the system's choice */
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most cores, and then hammers the line */
#endif
}

static bool job_is_new(pool *p, unsigned seen) {
    return atomic_load(&p->epoch) != seen || atomic_load(&p->stop);
}

static bool job_is_done(pool *p, unsigned unused) {
    (void)unused;
    return atomic_load(&p->left) == 0;
}

/* Wait for `ready` without sleeping, at most `limit_ns`; was it? */
static bool spin(pool *p, bool (*ready)(pool *, unsigned), unsigned argument, int64_t limit_ns) {
    if (ready(p, argument)) return true;
    if (!p->spins) return false;
    for (int64_t end = now_ns() + limit_ns; now_ns() < end;)
        for (int i = 0; i < 16; i++) {
            relax();
            if (ready(p, argument)) return true;
        }
    return false;
}

/* Take half of what is left of a range, `grain` at least, from its front or its back; how many tasks. */
static int32_t take(pool *p, seat *from, bool front, int32_t *begin) {
    uint64_t range = atomic_load(&from->range);
    for (;;) {
        int32_t first = BEGIN(range), last = END(range), size = (last - first) / 2;
        int32_t grain = atomic_load(&p->grain);
        if (first >= last) return 0;
        if (size < grain) size = grain;
        if (size > last - first) size = last - first;
        uint64_t rest = front ? RANGE(first + size, last) : RANGE(first, last - size);
        if (atomic_compare_exchange_weak(&from->range, &range, rest)) {
            *begin = front ? first : last - size;
            return size;
        }
    }
}

/* Do tasks, one's own first, until nobody has any left. */
static void work(pool *p, int number) {
    int32_t begin, size;
    int64_t done = 0;
    for (int i = 0; i <= p->workers;) {
        seat *from = &p->seats[(number + i) % (p->workers + 1)];
        if ((size = take(p, from, i == 0, &begin)) == 0) {
            i++;
            continue;
        }
        p->job->run(p->job->context, number, begin, begin + size);
        done += size;
    }
    if (done && atomic_fetch_sub(&p->left, done) == done && atomic_load(&p->caller_sleeps)) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_signal(&p->job_done);
        pthread_mutex_unlock(&p->mutex);
    }
}

#ifdef __linux__
static int pin_to(const cpu_set_t *set) { return sched_setaffinity(0, sizeof *set, set); }

static int pin(int32_t core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (core < 0 || core >= CPU_SETSIZE) return -1;
    CPU_SET(core, &set);
    return pin_to(&set);
}
#endif

static void *worker(void *argument) {
    seat *mine = argument;
    pool *p = mine->pool;
#ifdef __linux__
    if (p->pinned_count) pin(p->pinned[mine->number % p->pinned_count]);
#endif
    for (unsigned seen = 0; !atomic_load(&p->stop);) {
        if (!spin(p, job_is_new, seen, IDLE_SPIN_NS)) {
            pthread_mutex_lock(&p->mutex);
            atomic_fetch_add(&p->sleepers, 1);
            while (!job_is_new(p, seen)) pthread_cond_wait(&p->job_ready, &p->mutex);
            atomic_fetch_sub(&p->sleepers, 1);
            pthread_mutex_unlock(&p->mutex);
        }
        seen = atomic_load(&p->epoch);
        work(p, mine->number);
    }
    return NULL;
}

/* Wake at most `wanted` sleepers. Whoever is just falling asleep sees the new epoch first, or is counted. */
static void wake(pool *p, uint64_t wanted) {
    if (atomic_load(&p->sleepers) == 0) return;
    pthread_mutex_lock(&p->mutex);
    if (wanted >= (uint64_t)p->workers) pthread_cond_broadcast(&p->job_ready);
    else
        while (wanted--) pthread_cond_signal(&p->job_ready);
    pthread_mutex_unlock(&p->mutex);
}

int pool_threads(const pool *p) { return p->workers + 1; }

void pool_run(pool *p, const pool_job *job) {
    int64_t tasks = job->tasks, threads = pool_threads(p);
    int32_t grain = job->grain > 0 ? job->grain : 1;
    if (p->workers == 0 || tasks <= grain) {
        job->run(job->context, 0, 0, job->tasks);
        return;
    }
    p->job = job;
    atomic_store(&p->grain, grain);
    atomic_store(&p->left, tasks);
    for (int64_t i = 0; i < threads; i++)
        atomic_store(&p->seats[i].range, RANGE(tasks * i / threads, tasks * (i + 1) / threads));
    atomic_fetch_add(&p->epoch, 1);
    wake(p, (uint64_t)((tasks - 1) / grain));
    work(p, 0);
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
    memset(p, 0, offsetof(pool, pinned));
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->job_ready, NULL);
    pthread_cond_init(&p->job_done, NULL);
    p->owner = getpid();
    /* with fewer cores than threads, spinning keeps others from working */
    p->spins = threads <= cpus() && (!p->pinned_count || threads - 1 <= p->pinned_count);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* some systems give 128 KiB otherwise */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for our workers */
    for (int i = 0; i < threads; i++) p->seats[i] = (seat){.pool = p, .number = i};
    for (int i = 1; i < threads && !pthread_create(&p->threads[i - 1], &attributes, worker, &p->seats[i]); i++)
        p->workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return pool_threads(p);
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
    ((pool *)p)->pinned_count = 0;
    start_workers(p, threads);
    return p;
}

int pool_resize(pool *p, int threads) {
    stop_workers(p);
    return start_workers(p, threads);
}

int pool_pin(pool *p, const int32_t *cores, int count) {
#ifdef __linux__
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine)) return -1;
    int bad = 0;
    for (int i = 0; i < count && !bad; i++) bad = pin(cores[i]); /* the caller tries each */
    pin_to(&mine);
    if (bad) return -1;
    int threads = pool_threads(p);
    stop_workers(p);
    for (int i = 0; i < count; i++) p->pinned[i] = cores[i];
    p->pinned_count = count;
    start_workers(p, threads);
    return 0;
#else
    (void)p, (void)cores;
    return count ? -1 : 0;
#endif
}

void pool_revive(pool *p) {
    if (p->workers && p->owner != getpid()) start_workers(p, pool_threads(p));
}

void pool_close(pool *p) {
    if (!p) return;
    stop_workers(p);
    free(p);
}
