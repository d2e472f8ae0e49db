/*
 * answer.h: the gate's HTTP answers, as Patroni's REST paths give them. Pure; any thread.
 *
 * Paths: /primary (also /, /master, /read-write, /leader of Patroni except /, which is the page),
 * /replica, /read-only, /health, /liveness, /readiness. Status 200 or 503 (400 with the names of
 * the nodes when it is not clear which node is meant, 404 for an unknown one).
 */
#ifndef PGVIGIL_GATE_ANSWER_H
#define PGVIGIL_GATE_ANSWER_H

#include "pgvigil/base/buf.h"
#include "pgvigil/model/verdict.h"

enum answer_kind {
    ANSWER_PRIMARY,
    ANSWER_REPLICA,
    ANSWER_READ_ONLY,
    ANSWER_HEALTH,
    ANSWER_LIVENESS,
    ANSWER_READINESS
};

struct answer_query {
    enum answer_kind kind;
    const char *node;              /* NULL: the local one */
    const char *zone;              /* NULL: any */
    const char *lag;               /* "16MB" or bytes: Patroni's lag=; NULL: none */
    const char *max_lag;           /* "10s": data lag; NULL: none */
    const char *min_lsn;           /* "0/5A3C2D8": replayed at least; NULL: none */
    const char *replication_state; /* "streaming" */
};

/* false when the path is not one of the gate's. */
bool answer_path(const char *path, enum answer_kind *kind);
/*
 * HTTP status; body gets the JSON (Patroni's keys where it has them, and "freshness" for our
 * state). ticked_age_ms: age of the gate's last tick, negative = never; over max_age_ms (the lease)
 * every answer is 503, as Patroni's /liveness is when its loop stands: nothing is called healthy
 * for longer than the lease. lag, max_lag and replication_state bind replicas only; max_lag is
 * compared with the lag that is shown (the bounds decide `read`). A parameter that cannot be read
 * is a 400.
 */
int answer(const struct answer_query *query, const struct verdict *nodes, size_t n,
           int64_t ticked_age_ms, int64_t max_age_ms, struct buf *body);

#endif
