/*
 * rules_private.h: what the files of this folder share of running rules: a rule and a group with
 * what their runs left, and the steps of a run.
 */
#ifndef AGENT_RULES_RULES_PRIVATE_H
#define AGENT_RULES_RULES_PRIVATE_H

#include "life.h"
#include "pgvigil/base/clock.h"
#include "pgvigil/rules/rules.h"

#define RULE_TEXT_MAX 400

struct rule_run {
    const struct rule *rule;
    struct life life;              /* alerts only */
    char source[BATCH_SOURCE_MAX]; /* of its samples; the same as long as the rule has its name and
                                      labels, wherever in its group it stands */
    uint64_t hash;                 /* of what names the source */
    int64_t reach_ms, interval_ms;
    char *query;      /* the expression as Prometheus words it */
    bool had_samples; /* the last batch was not empty: an empty one must follow */
    bool had_result;  /* the last evaluation gave something */
    bool is_matched;  /* during a reload: its alerts have moved */
    char error[200];  /* of the last run, "" = ok */
    char note[200];   /* the first annotation of the last run, "" = none */
    wall_ms run_at;   /* of the last run; WALL_UNSET = none */
    int64_t run_ns;   /* it took */
    mono_ms look_at;  /* when its selectors are looked up next; MONO_UNSET = with its first turn */
    struct rule_run **feeds; /* alerts only: recording rules that feed it, also through others */
    size_t feed_count;
    bool of_alerts;              /* it looks at the series of alerts */
    char missing[RULE_TEXT_MAX]; /* why a selector of it finds nothing, "" = none does */
};

struct group_run {
    const struct rule_group *group;
    struct rule_run *runs;
    int64_t interval_ms;
    mono_ms next; /* MONO_UNSET: with the first tick */
    wall_ms run_at;
    int64_t run_ns;
    bool has_run; /* since it was loaded, to its end */
    /* the run that is under way */
    struct now began; /* mono: the point of the group's grid */
    uint64_t began_ns, rule_began_ns;
    size_t at;       /* the rule that is evaluated */
    uint64_t ticket; /* of the job that it waits for; 0 = none */
};

struct rules {
    struct rules_opts opts;
    struct rule_set *set;
    struct group_run *groups;
    size_t count;
    struct arena *arena;
    struct batch_builder *builder;
    struct labels external;
    struct hist tick_time;
    struct rules_stats stats;
    struct arena *query_arena; /* of one query of a template */
    size_t query_samples_left; /* for the templates of the run that is under way */
    uint64_t last_ticket;
    mono_ms settled; /* all groups have run once since the load; MONO_UNSET = not yet */
    size_t look_group, look_rule; /* whose selectors were looked up last */
};

/* ---- rules.c ---- */
/* Sends what was added to the builder: an empty batch once after one with samples, so that their
 * series end. */
void rules_send_batch(struct rules *r, struct rule_run *run);
/* Of an evaluation on the engine's thread. */
struct promql_limits rule_limits(const struct rules *r);
/* Sample times of the run that is under way. */
wall_ms group_sample_time(const struct group_run *group);
/* More than fit_labels accepts: what is too much is seen there, not cut off in silence. */
#define PAIRS_MAX (2 * LABELS_MAX)
/* Sets the pair, over one of this name; there is room for PAIRS_MAX. */
void put_pair(struct label *pairs, size_t *n, const char *name, const char *value);

bool fit_labels(const struct labels *labels, size_t max, struct err *err) MUST_CHECK;

/* ---- load.c ---- */
void groups_free(struct group_run *groups, size_t n);

/* ---- feeds.c: rules that feed alerts ---- */
/* For all alerting rules of a set that was loaded. */
void rules_link_feeds(struct rules *r);
/* Does a rule that feeds it have no result? Then nothing follows from what is missing. */
bool rule_lacks_input(const struct rules *r, const struct rule_run *run);
/* How long after a start samples may be missing: in its windows, and in what feeds it. */
int64_t rule_fill_ms(const struct rules *r, const struct rule_run *run);

/* ---- run_alert.c, run_record.c: what a result means ---- */
bool run_alert(struct rules *r, const struct group_run *group, struct rule_run *run,
               const struct promql_value *value, struct err *err) MUST_CHECK;
bool run_record(struct rules *r, const struct group_run *group, struct rule_run *run,
                const struct promql_value *value, struct err *err) MUST_CHECK;
/* The result as samples: of a scalar one without labels. */
const struct promql_sample *value_samples(const struct promql_value *value,
                                          struct promql_sample *scalar, size_t *n);

/* ---- far.c: evaluation elsewhere ---- */
/* Does the rule look further back than the head holds everything? */
bool rule_is_far(const struct rules *r, const struct rule_run *run, int64_t t);
/* Can the head never hold everything that it looks at? */
bool rule_needs_history(const struct rules *r, const struct rule_run *run);
/* Hands the group's current rule over; false with the reason if nobody takes it. */
bool rule_send_far(struct rules *r, struct group_run *group, int64_t t, struct err *err) MUST_CHECK;

uint64_t rule_job_ticket(const struct rule_job *job);
/* NULL with the reason if it failed. */
const struct promql_value *rule_job_result(const struct rule_job *job, struct err *err);

/* ---- missing.c: rules without series ---- */
/* Looks up the selectors of at most one rule. */
void rules_look(struct rules *r, struct now now);

#endif
