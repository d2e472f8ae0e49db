/*
 * judge.h: from observations to verdicts, for one cluster. Pure in time; no I/O, no clock.
 *
 * Each tick: judge_observe for each node that was probed, then judge_tick. The judge keeps the
 * rings (timeline.h), one state machine per node (rows {from, event, to, reason} in
 * agent/gate/judge_table.c, applied by one function) and the rules of the cluster: hysteresis, hold
 * doubling, blind and half rule, split brain, panic, no_replicas, weights. Every change is a flip
 * with its evidence, given to on_flip. Gate thread.
 */
#ifndef PGVIGIL_GATE_JUDGE_H
#define PGVIGIL_GATE_JUDGE_H

#include "pgvigil/gate/probe.h"
#include "pgvigil/gate/timeline.h"

struct judge;

struct judge_opts {
    const char *cluster; /* may be "" */
    enum config_scope scope;
    const struct config_gate *gate;  /* copied */
    const struct config_node *nodes; /* those of this cluster; copied what is needed */
    size_t node_count;
    int64_t interval_ms; /* of the ticks */
    void (*on_flip)(const struct gate_flip *flip, void *arg);
    void *arg;
};

struct judge *judge_create(const struct judge_opts *opts, struct now now);
void judge_destroy(struct judge **judge);
/* A new configuration: nodes that stay (by name) keep their state, rings are kept. */
void judge_reconfigure(struct judge *judge, const struct judge_opts *opts, struct now now);
/* What the last run knew; before the first tick. Published states are kept without a new hold. */
void judge_restore(struct judge *judge, const struct gate_image *image, struct now now);

void judge_observe(struct judge *judge, size_t node, const struct probe_result *result);
/*
 * Decides. gap: the agent itself stood still for more than 3 intervals (stopped, suspended):
 * counters start again and two full ticks must pass before any flip.
 */
void judge_tick(struct judge *judge, struct now now, bool gap);

size_t judge_node_count(const struct judge *judge);
const struct verdict *judge_verdict(const struct judge *judge, size_t node);
const struct cluster_verdict *judge_cluster(const struct judge *judge);
/* For persistence. */
void judge_node_state(const struct judge *judge, size_t node, wall_ms now,
                      struct gate_node_state *out);
/* Newest entry of the ring in use; false if none. */
bool judge_timeline_newest(const struct judge *judge, uint64_t *system_id, uint32_t *tli,
                           struct timeline_entry *out);

#endif
