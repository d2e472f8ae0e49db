/*
 * rules.h: evaluates rule groups at their interval and runs the life cycle of alerts.
 *
 * Pure in time: the engine calls rules_tick with now. One group's rules run in order at one
 * timestamp; results go back through on_samples before the next rule, so later rules see them.
 * Alert states are a table of rows {from, event, to} (agent/rules/life.c); every change of state
 * goes to on_change. Missing data neither resolves nor fires: an alert whose input fails is held.
 * Engine thread.
 */
#ifndef PGVIGIL_RULES_RULES_H
#define PGVIGIL_RULES_RULES_H

#include "pgvigil/base/hist.h"
#include "pgvigil/model/alert.h"
#include "pgvigil/model/batch.h"
#include "pgvigil/model/reader.h"
#include "pgvigil/model/rule_report.h"
#include "pgvigil/rules/rule_file.h"

#define RULES_RESOLVED_KEEP_MS (15 * 60 * 1000)
#define RULES_HELD_MAX_MS      (24 * 3600 * 1000)

struct rules;

struct rules_opts {
    int64_t evaluation_interval_ms;
    const struct label *external_labels; /* copied; added to alerts where they have no such label */
    size_t external_label_count;
    const char *external_url; /* of templates; borrowed; NULL = none */
    /* As promtool's tests see them: external labels are for templates only, and no series but those
     * of Prometheus are produced. */
    bool like_promtool;
    int64_t subquery_step_ms; /* of `m[1h:]`; 0 = PROMQL_SUBQUERY_STEP_MS */
    struct series_table *series;
    struct reader *reader;
    /* Samples that a rule or group produced (recorded series, ALERTS, ALERTS_FOR_STATE): takes over
     * the reference; the head must have them when it returns. */
    void (*on_samples)(struct batch *batch, void *arg);
    /* The alert's state, or that it is held, has changed. Borrowed. */
    void (*on_change)(const struct alert *alert, enum alert_state from, void *arg);
    /* Is a collector that feeds this metric failing for the target that the labels name? */
    bool (*failing)(const char *metric, const struct labels *labels, void *arg);
    /* Was the target that the labels name removed, or did its role change? */
    bool (*gone)(const struct labels *labels, void *arg);
    void *arg;
};

struct rules *rules_create(const struct rules_opts *opts);
void rules_destroy(struct rules **rules);
/* Takes over the set. Alerts of rules that stay (file, group, name) keep their state; those of
 * rules that are gone are resolved with reason `removed`. */
void rules_load(struct rules *rules, struct rule_set *set, struct now now);
/* Pending and firing alerts of the last run; before the first tick, after rules_load. Alerts whose
 * rule is gone are resolved at the first tick. */
void rules_restore(struct rules *rules, struct alert *const *alerts, size_t n, struct now now);
/* Evaluates the groups that are due. */
void rules_tick(struct rules *rules, struct now now);
/* All alerts (pending, firing, lately resolved): deep copies for the board. */
struct alert_list *rules_list(const struct rules *rules, wall_ms now);
/* Definitions and last runs of all rules, for the board. */
struct rule_report *rules_report(const struct rules *rules);
const struct rule_set *rules_set(const struct rules *rules);

struct rules_stats {
    uint64_t evaluations_total, failures_total, missed_total;
    size_t pending, firing;
    const struct hist *tick_time;
};
void rules_stats(const struct rules *rules, struct rules_stats *out);

#endif
