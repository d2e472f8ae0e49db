/*
 * workers.h: a few threads for calls that may block (name look-ups, PQconnectStart).
 *
 * Each loop has its own set, so that a hung resolver of one cannot starve the other. Threads are
 * started when needed, up to the maximum, with small stacks. `work` runs in a worker, `done` later
 * on the loop's thread, always exactly once, also for jobs that were cancelled (then `cancelled` is
 * true: `work` may still be running; its result belongs to nobody and `dispose` is called in the
 * worker when it ends). Jobs with the same key never run at the same time (one job per host name):
 * a second one waits for the first without taking a thread. Keyed jobs are those that may hang:
 * two threads are kept free of them (with more than four), so that dead name servers do not stop
 * the rest.
 */
#ifndef PGVIGIL_BASE_WORKERS_H
#define PGVIGIL_BASE_WORKERS_H

#include "pgvigil/base/loop.h"

#define WORKERS_MAX_QUEUED 4096

struct workers;
struct workers_job;

struct workers_ops {
    void (*work)(void *arg);                 /* worker thread */
    void (*done)(void *arg, bool cancelled); /* loop thread */
    /* Last owner frees arg: worker thread if it was cancelled while running, else loop thread. */
    void (*dispose)(void *arg);
};

struct workers *workers_create(struct loop *loop, unsigned max_threads);
/* Cancels all; threads that hang in a call are left behind detached. */
void workers_destroy(struct workers **workers);
/* key may be NULL. Returns NULL when the queue is full (arg is still the caller's). */
struct workers_job *workers_submit(struct workers *workers, const char *key,
                                   const struct workers_ops *ops, void *arg);
/* Loop thread. After it, job is invalid; done(arg, true) has been called before it returns. */
void workers_cancel(struct workers *workers, struct workers_job *job);
size_t workers_queued(const struct workers *workers);

#endif
