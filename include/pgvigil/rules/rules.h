/*
 * rules.h: evaluates rule groups at their interval and runs the life cycle of alerts.
 *
 * Pure in time: the engine calls rules_tick with now. One group's rules run in order at one
 * timestamp; results go back through on_samples before the next rule, so later rules see them.
 * Alert states are a table of rows {from, event, to} (agent/rules/life.c); every change of state
 * goes to on_change. Missing data neither resolves nor fires: an alert whose input fails is held.
 * A rule that reaches further back than the head may be evaluated elsewhere (run_far): its group
 * waits, the others go on. Engine thread, but for rule_job_run and rule_job_destroy.
 */
#ifndef PGVIGIL_RULES_RULES_H
#define PGVIGIL_RULES_RULES_H

#include "pgvigil/base/hist.h"
#include "pgvigil/model/alert.h"
#include "pgvigil/model/batch.h"
#include "pgvigil/model/reader.h"
#include "pgvigil/model/rule_report.h"
#include "pgvigil/model/sources.h"
#include "pgvigil/rules/rule_file.h"

#define RULES_RESOLVED_KEEP_MS (15 * 60 * 1000)
#define RULES_HELD_MAX_MS      (24 * 3600 * 1000)
/* Prometheus' defaults of --rules.alert.for-outage-tolerance and --rules.alert.for-grace-period. */
#define RULES_OUTAGE_MAX_MS (3600 * 1000)
#define RULES_GRACE_MS      (10 * 60 * 1000)
/* Of a rule that is evaluated elsewhere; whoever evaluates gives it RULE_FAR_TIMEOUT_MS. */
#define RULE_FAR_SAMPLES_MAX 5000000
#define RULE_FAR_BYTES_MAX   (128 * 1024 * 1024)
#define RULE_FAR_TIMEOUT_MS  10000
/* So long after the first evaluations a rule may be without series: collectors that failed at the
 * start have tried again by then, and slow ones have answered. */
#define RULES_LOOK_AFTER_MS 60000
#define RULES_LOOK_EVERY_MS 60000

struct rules;
struct rule_job;

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
    /*
     * Evaluates a rule that looks past what the head holds, where it may take its time: takes the
     * job over, calls rule_job_run in any thread, and later, never from within, rules_far_done or
     * rules_far_failed. false: too much is under way; the job is still the caller's. NULL: every
     * rule is evaluated at once through `reader`.
     */
    bool (*run_far)(struct rule_job *job, void *arg);
    /* From this time on the reader misses nothing (head_complete_since); needed with run_far. */
    int64_t (*complete_since)(void *arg);
    /* It never holds more than this; a rule that looks no further is evaluated over what it holds
     * if run_far comes to nothing. */
    int64_t reader_keep_ms;
    /* Whose metrics should be there; NULL: rules without series are not looked for. */
    const struct sources *sources;
    void *arg;
};

struct rules *rules_create(const struct rules_opts *opts);
void rules_destroy(struct rules **rules);
/* Labels are copied. Alerts under the former ones end with their rule's next run, as any that is no
 * longer in the result. */
void rules_set_external(struct rules *rules, const struct label *labels, size_t n);
/* Takes over the set. Alerts of rules that stay (file, group, name) keep their state; those of
 * rules that are gone are resolved with reason `removed`. */
void rules_load(struct rules *rules, struct rule_set *set, struct now now);
/*
 * Pending and firing alerts of the last run; before the first tick, after rules_load. What fired
 * goes on firing, and until its windows and the rules that feed it have come anew nothing that is
 * missing ends it; what was pending is so for as long as it was before down_since, the last
 * evaluation of that run (WALL_UNSET = nobody knows: it starts anew). Alerts whose rule is gone are
 * resolved at once.
 */
void rules_restore(struct rules *rules, struct alert *const *alerts, size_t n, wall_ms down_since,
                   struct now now);
/* Evaluates the groups that are due. */
void rules_tick(struct rules *rules, struct now now);

/* ---- jobs of run_far ---- */
/* Any thread, once; cancelled is asked now and then (deadline). */
void rule_job_run(struct rule_job *job, struct reader *reader, bool (*cancelled)(void *arg),
                  void *arg);
/* After it: its result does not count, because its samples were not whole. */
void rule_job_fail(struct rule_job *job, const char *why);
/* Any thread; NULL is fine. */
void rule_job_destroy(struct rule_job **job);
/* It has run: its result counts at the time at which its group began, and the group goes on.
 * Nothing happens if the rule was loaded anew meanwhile. The job stays the caller's. */
void rules_far_done(struct rules *rules, struct rule_job *job, struct now now);
/* It is given up, also while it still runs: an error of the rule. */
void rules_far_failed(struct rules *rules, const struct rule_job *job, const char *why,
                      struct now now);

/* All alerts (pending, firing, lately resolved): deep copies for the board. */
struct alert_list *rules_list(const struct rules *rules, wall_ms now);
/* Definitions and last runs of all rules, for the board. */
struct rule_report *rules_report(const struct rules *rules);
const struct rule_set *rules_set(const struct rules *rules);

/* Calls fn for each rule with a selector that finds nothing although it should. */
void rules_each_missing(const struct rules *rules,
                        void (*fn)(const char *file, const char *group, const char *rule,
                                   void *arg),
                        void *arg);

struct rules_stats {
    uint64_t evaluations_total, failures_total, missed_total;
    wall_ms last_run; /* of any group, to its end; WALL_UNSET = none */
    size_t pending, firing;
    const struct hist *tick_time;
};
void rules_stats(const struct rules *rules, struct rules_stats *out);

#endif
