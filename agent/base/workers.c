/*
 * workers.c: threads for calls that may block, beside a loop.
 *
 * libuv's own pool is one per process with a fixed number of threads, so one hung resolver would
 * starve both loops; and a call that hangs cannot be interrupted, only abandoned. So the queue and
 * its mutex live in a `pool` that is counted by its threads: a thread that comes back from a hang
 * after everything is gone still finds it.
 * Keyed jobs are those that ask the network for a name. They may take all threads but
 * UNKEYED_RESERVE, or a few dead name servers would also stop what needs no name.
 * Invariants: a job is in exactly one list (by its state); `pool->busy_keyed` counts the running
 * keyed ones, cancelled or not. The mutex is held for list work only.
 */
#include "pgvigil/base/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/queue.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* getaddrinfo with its NSS modules needs well over the 16 KiB minimum; untouched pages are free. */
#define STACK_BYTES     (256 * 1024)
#define IDLE_EXIT_MS    10000
#define UNKEYED_RESERVE 2

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_FINISHED };

struct workers_job {
    struct workers_ops ops;
    void *arg;
    char *key;
    enum job_state state;
    bool cancelled;
    bool held; /* its canceller still reads arg: the thread must not free it */
    TAILQ_ENTRY(workers_job) link;
};

TAILQ_HEAD(job_list, workers_job);

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t work_ready;
    struct job_list queued, running, finished;
    size_t queued_count;
    unsigned threads, idle, max_threads, busy_keyed;
    unsigned refs; /* threads + the owner */
    bool closed;
    struct loop_wake *wake; /* the loop's; used under the mutex while not closed */
};

struct workers {
    struct pool *pool;
    struct loop_wake *wake;
};

static void job_free(struct workers_job *job)
{
    if (job->ops.dispose)
        job->ops.dispose(job->arg);
    mem_free(job->key);
    mem_free(job);
}

/* Unlocks; frees the pool if that was the last reference. */
static void pool_unref_locked(struct pool *pool)
{
    bool is_last = --pool->refs == 0;
    pthread_mutex_unlock(&pool->mutex);
    if (!is_last)
        return;
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->work_ready);
    mem_free(pool);
}

static bool key_is_running(const struct pool *pool, const char *key)
{
    const struct workers_job *job;
    TAILQ_FOREACH(job, &pool->running, link)
    {
        if (job->key && str_eq(job->key, key))
            return true;
    }
    return false;
}

static bool keyed_slot_free(const struct pool *pool)
{
    unsigned reserve = pool->max_threads > 2 * UNKEYED_RESERVE ? UNKEYED_RESERVE : 0;
    return pool->busy_keyed < pool->max_threads - reserve;
}

/* The oldest job that may run now; NULL if none. */
static struct workers_job *next_runnable(const struct pool *pool)
{
    struct workers_job *job;
    TAILQ_FOREACH(job, &pool->queued, link)
    {
        if (!job->key || (keyed_slot_free(pool) && !key_is_running(pool, job->key)))
            return job;
    }
    return NULL;
}

static void run_job(struct pool *pool, struct workers_job *job)
{
    TAILQ_REMOVE(&pool->queued, job, link);
    pool->queued_count--;
    TAILQ_INSERT_TAIL(&pool->running, job, link);
    job->state = JOB_RUNNING;
    pool->busy_keyed += job->key != NULL;
    pthread_mutex_unlock(&pool->mutex);
    job->ops.work(job->arg);
    pthread_mutex_lock(&pool->mutex);
    TAILQ_REMOVE(&pool->running, job, link);
    pool->busy_keyed -= job->key != NULL;
    job->state = JOB_FINISHED;
    if (!job->cancelled) {
        TAILQ_INSERT_TAIL(&pool->finished, job, link);
        loop_wake_send(pool->wake); /* not closed: closing cancels every job */
    } else if (!job->held) {
        pthread_mutex_unlock(&pool->mutex);
        job_free(job);
        pthread_mutex_lock(&pool->mutex);
    }
}

/* Waits for work; false after IDLE_EXIT_MS without any (a quiet agent needs no threads). */
static bool wait_for_work(struct pool *pool)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_EXIT_MS / 1000;
    pool->idle++;
    int rc = pthread_cond_timedwait(&pool->work_ready, &pool->mutex, &until);
    pool->idle--;
    return rc != ETIMEDOUT;
}

static void *thread_main(void *arg)
{
    struct pool *pool = arg;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct workers_job *job = pool->closed ? NULL : next_runnable(pool);
        if (job)
            run_job(pool, job);
        else if (pool->closed || !wait_for_work(pool))
            break;
    }
    pool->threads--;
    pool_unref_locked(pool);
    return NULL;
}

/*
 * Failing to start a thread is no error while another one runs; without any, the jobs wait for the
 * next submit, and their owners have deadlines.
 */
static void start_thread(struct pool *pool)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals belong to the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, thread_main, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc) {
        log_warn("worker thread cannot be started error=%d", rc);
        return;
    }
    pool->threads++;
    pool->refs++;
}

static struct workers_job *take_finished(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct workers_job *job = TAILQ_FIRST(&pool->finished);
    if (job)
        TAILQ_REMOVE(&pool->finished, job, link);
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

/* One at a time, with a reference: done() may cancel others or destroy the workers. */
static void on_finished(void *arg)
{
    struct workers *workers = arg;
    struct pool *pool = workers->pool;
    struct workers_job *job;
    pthread_mutex_lock(&pool->mutex);
    pool->refs++;
    pthread_mutex_unlock(&pool->mutex);
    while ((job = take_finished(pool))) {
        job->ops.done(job->arg, false);
        job_free(job);
    }
    pthread_mutex_lock(&pool->mutex);
    pool_unref_locked(pool);
}

struct workers *workers_create(struct loop *loop, unsigned max_threads)
{
    struct workers *workers = mem_alloc(sizeof(*workers));
    struct pool *pool = mem_alloc(sizeof(*pool));
    pthread_condattr_t attr;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work_ready, &attr);
    pthread_condattr_destroy(&attr);
    TAILQ_INIT(&pool->queued);
    TAILQ_INIT(&pool->running);
    TAILQ_INIT(&pool->finished);
    pool->max_threads = max_threads ? max_threads : 1;
    pool->refs = 1;
    workers->pool = pool;
    workers->wake = loop_wake_create(loop, on_finished, workers);
    pool->wake = workers->wake;
    return workers;
}

static struct workers_job *first_uncancelled(struct pool *pool)
{
    struct workers_job *job = TAILQ_FIRST(&pool->queued);
    if (!job)
        job = TAILQ_FIRST(&pool->finished);
    if (job)
        return job;
    TAILQ_FOREACH(job, &pool->running, link)
    {
        if (!job->cancelled)
            return job;
    }
    return NULL;
}

void workers_destroy(struct workers **workers)
{
    if (!*workers)
        return;
    struct pool *pool = (*workers)->pool;
    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        struct workers_job *job = first_uncancelled(pool);
        pthread_mutex_unlock(&pool->mutex);
        if (!job)
            break;
        workers_cancel(*workers, job);
    }
    loop_wake_destroy(&(*workers)->wake);
    pthread_mutex_lock(&pool->mutex);
    pool->closed = true;
    pthread_cond_broadcast(&pool->work_ready);
    pool_unref_locked(pool);
    MEM_FREE_NULL(workers);
}

struct workers_job *workers_submit(struct workers *workers, const char *key,
                                   const struct workers_ops *ops, void *arg)
{
    struct pool *pool = workers->pool;
    struct workers_job *job = NULL;
    pthread_mutex_lock(&pool->mutex);
    if (pool->queued_count < WORKERS_MAX_QUEUED) {
        job = mem_alloc(sizeof(*job));
        job->ops = *ops;
        job->arg = arg;
        job->key = key ? mem_strdup(key) : NULL;
        TAILQ_INSERT_TAIL(&pool->queued, job, link);
        pool->queued_count++;
        if (pool->idle < pool->queued_count && pool->threads < pool->max_threads)
            start_thread(pool);
        pthread_cond_signal(&pool->work_ready);
    }
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

/* Takes the job out of the loop thread's sight; true if its work is still running. */
static bool withdraw(struct pool *pool, struct workers_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    bool is_running = job->state == JOB_RUNNING;
    if (job->state == JOB_QUEUED) {
        TAILQ_REMOVE(&pool->queued, job, link);
        pool->queued_count--;
    } else if (job->state == JOB_FINISHED) {
        TAILQ_REMOVE(&pool->finished, job, link);
    }
    job->cancelled = true;
    job->held = is_running;
    pthread_mutex_unlock(&pool->mutex);
    return is_running;
}

/* True if the thread has come back meanwhile and left the job to us. */
static bool release_hold(struct pool *pool, struct workers_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    bool is_ours = job->state == JOB_FINISHED;
    job->held = false;
    pthread_mutex_unlock(&pool->mutex);
    return is_ours;
}

void workers_cancel(struct workers *workers, struct workers_job *job)
{
    struct pool *pool = workers->pool;
    bool was_running = withdraw(pool, job);
    job->ops.done(job->arg, true);
    if (!was_running || release_hold(pool, job))
        job_free(job);
}

size_t workers_queued(const struct workers *workers)
{
    struct pool *pool = workers->pool;
    pthread_mutex_lock(&pool->mutex);
    size_t count = pool->queued_count;
    pthread_mutex_unlock(&pool->mutex);
    return count;
}
