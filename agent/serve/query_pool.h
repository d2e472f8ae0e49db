/*
 * query_pool.h: the threads in which queries run, beside the HTTP loop. At most QUERIES_RUNNING run
 * and QUERIES_WAITING wait; more are refused at once, so that nobody waits for what is hopeless.
 */
#ifndef AGENT_SERVE_QUERY_POOL_H
#define AGENT_SERVE_QUERY_POOL_H

#include "pgvigil/base/loop.h"

#include "query.h"
#include "query_source.h"

#define QUERIES_RUNNING 4
#define QUERIES_WAITING 16

struct query_pool;
struct query_ticket;

/* Takes over the source. Loop thread, like all others. */
struct query_pool *query_pool_create(struct loop *loop, struct query_source *source);
/* No `done` is called any more; what still runs gives up by itself and frees what it has. */
void query_pool_destroy(struct query_pool **pool);
/*
 * Takes over the query and calls done on the loop with its answer, which the callee may take out of
 * q->reply. NULL when too many wait: the query is still the caller's.
 */
struct query_ticket *query_pool_start(struct query_pool *pool, struct query *q,
                                      void (*done)(struct query *q, void *arg), void *arg);
/* Nobody wants the answer: done is not called. */
void query_pool_cancel(struct query_pool *pool, struct query_ticket *ticket);

#endif
