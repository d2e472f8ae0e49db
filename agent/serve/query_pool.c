/*
 * query_pool.c: a query is a job of base/workers. Its ticket belongs to the job: whoever holds the
 * job last frees it, and with it the query and its share of the source, so that a query which hangs
 * in a disk needs nothing of the daemon any more. Invariant: `pending` counts the tickets whose
 * done is still to come.
 */
#include "query_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/workers.h"

/* Four threads may take all cores of a small host; gate, rules and page go before them. */
#define QUERY_NICE 10

struct query_pool {
    struct workers *workers;
    struct query_source *source;
    size_t pending;
};

struct query_ticket {
    struct query_pool *pool; /* loop thread only */
    struct query_source *source;
    struct query *query;
    struct workers_job *job;
    void (*done)(struct query *q, void *arg);
    void *arg;
};

/* ---- the job ---- */

static void work(void *arg)
{
    struct query_ticket *t = arg;
    setpriority(PRIO_PROCESS, (id_t)gettid(), QUERY_NICE); /* Linux: of this thread only */
    struct query_reader *reader = query_source_take(t->source, query_cancelled, t->query);
    query_run(t->query, query_reader(reader), query_reader_warning(reader));
    query_source_give_back(t->source, &reader);
}

static void done(void *arg, bool cancelled)
{
    struct query_ticket *t = arg;
    t->pool->pending--;
    if (cancelled)
        atomic_store(&t->query->given_up, true);
    else
        t->done(t->query, t->arg);
}

static void dispose(void *arg)
{
    struct query_ticket *t = arg;
    query_destroy(&t->query);
    query_source_unref(t->source);
    mem_free(t);
}

/* ---- the pool ---- */

struct query_pool *query_pool_create(struct loop *loop, struct query_source *source)
{
    struct query_pool *pool = mem_alloc(sizeof(*pool));
    pool->workers = workers_create(loop, QUERIES_RUNNING);
    pool->source = source;
    return pool;
}

void query_pool_destroy(struct query_pool **pool)
{
    if (*pool == NULL)
        return;
    workers_destroy(&(*pool)->workers);
    query_source_close((*pool)->source);
    query_source_unref((*pool)->source);
    MEM_FREE_NULL(pool);
}

struct query_ticket *query_pool_start(struct query_pool *pool, struct query *q,
                                      void (*on_done)(struct query *q, void *arg), void *arg)
{
    static const struct workers_ops ops = {work, done, dispose};
    if (pool->pending >= QUERIES_RUNNING + QUERIES_WAITING)
        return NULL;
    struct query_ticket *t = mem_alloc(sizeof(*t));
    *t = (struct query_ticket){.pool = pool,
                               .source = query_source_ref(pool->source),
                               .query = q,
                               .done = on_done,
                               .arg = arg};
    t->job = workers_submit(pool->workers, NULL, &ops, t);
    if (t->job == NULL) {
        query_source_unref(t->source);
        mem_free(t);
        return NULL;
    }
    pool->pending++;
    return t;
}

void query_pool_cancel(struct query_pool *pool, struct query_ticket *t)
{
    workers_cancel(pool->workers, t->job);
}
