/*
 * collect.h: the collectors of the engine's loop: work sessions, PgBouncer, log tails, and the
 * samples made of the gate's reports.
 *
 * A collector polls on its own interval with a deadline; a tick that finds the last one still
 * running is skipped and counted. One missing view or grant disables one metric, not the set. Each
 * poll ends in one batch given to emit, or in a failure noted in sources (sources.h), which drops
 * what that source showed.
 */
#ifndef PGVIGIL_COLLECT_COLLECT_H
#define PGVIGIL_COLLECT_COLLECT_H

#include "pgvigil/base/loop.h"
#include "pgvigil/base/workers.h"
#include "pgvigil/model/batch.h"
#include "pgvigil/model/config.h"
#include "pgvigil/model/gate_report.h"
#include "pgvigil/model/sources.h"

struct collect;

struct collect_opts {
    struct loop *loop;
    struct workers *workers;
    struct series_table *series;
    struct sources *sources;
    struct config *config; /* a reference is taken */
    /* A poll ended well: takes over the reference. */
    void (*emit)(struct batch *batch, void *arg);
    /* A source has nothing to show any more. */
    void (*drop)(const char *source, wall_ms at, void *arg);
    void *arg;
};

struct collect *collect_create(const struct collect_opts *opts);
void collect_destroy(struct collect **collect);
/* Nodes, pools and logs that stay (same name and DSN) keep their sessions and counters. */
void collect_reconfigure(struct collect *collect, struct config *config);
/* A report of the gate: kept until collect_gate_flush makes a batch of each node's and cluster's.
 */
void collect_gate_report(struct collect *collect, const struct gate_report *report);
/* Emits "<node>/replication" and "<cluster>/gate" for what was reported since the last flush. */
void collect_gate_flush(struct collect *collect, struct now now);

#endif
