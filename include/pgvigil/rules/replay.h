/*
 * replay.h: runs rules in made-up time over samples that are given, not collected: unit tests of
 * rules, and the local history.
 *
 * The same evaluation and life of alerts as in the daemon (rules.h), over two stores: what the
 * caller gave (visible up to the time of the step), and a head that takes what the rules produce.
 * Missing data is not held here: what is not in the samples is not there. Nothing asks a clock.
 * Memory is bounded by max_points and REPLAY_PRODUCED_MAX. One thread.
 */
#ifndef PGVIGIL_RULES_REPLAY_H
#define PGVIGIL_RULES_REPLAY_H

#include "pgvigil/rules/rules.h"

#define REPLAY_PRODUCED_MAX ((size_t)256 * 1024 * 1024) /* bytes of series that rules made */
#define REPLAY_SERIES_MAX   200000

struct replay;

struct replay_opts {
    int64_t evaluation_interval_ms;
    bool one_interval; /* every group runs at evaluation_interval_ms, whatever its own is */
    bool like_promtool;
    const struct label *external_labels;
    size_t external_label_count;
    const char *external_url; /* borrowed; NULL = none */
    /* Names of groups in the order in which they run; the others come first. May be NULL. */
    const char *const *group_order;
    size_t group_order_count;
    wall_ms start; /* of the first step */
    size_t max_points;
    /*
     * Where else to read what was not given: asked when covers() is false for a metric (NULL: the
     * selector names none) behind t_min. Both NULL = nowhere.
     */
    struct reader *rest;
    bool (*covers)(const char *metric, int64_t t_min, void *arg);
    void (*on_change)(const struct alert *alert, enum alert_state from, void *arg);
    /* After each step; false ends replay_run. */
    bool (*on_step)(struct replay *replay, wall_ms at, void *arg);
    void *arg;
};

/* Takes over the set. */
struct replay *replay_create(const struct replay_opts *opts, struct rule_set *set);
void replay_destroy(struct replay **replay);

/* Gives samples, in time order, behind what the series has already. */
bool replay_add(struct replay *replay, const struct labels *labels, const struct point *points,
                size_t n, struct err *err) MUST_CHECK;
/* Forgets what was given for a series. */
void replay_forget(struct replay *replay, const struct labels *labels);
/* Drops given points at or before the time that `before` names for the metric, and what rules
 * produced before `produced`. */
void replay_trim(struct replay *replay, int64_t (*before)(const char *metric, void *arg), void *arg,
                 wall_ms produced);

/* Every step up to and with `end`. Goes on where it stood. */
bool replay_run(struct replay *replay, wall_ms end, struct err *err) MUST_CHECK;
/* The next step is at this time, and no time has passed for the alerts in between. */
void replay_jump(struct replay *replay, wall_ms to);
wall_ms replay_next(const struct replay *replay);
/* With like_promtool: the first rule whose sample stands where a given one with another value does,
 * or NULL. */
const char *replay_clash(const struct replay *replay);
/* Of the last step; WALL_UNSET before the first. */
wall_ms replay_at(const struct replay *replay);

/* Given and produced samples; given ones up to the last step. */
struct reader *replay_reader(struct replay *replay);
/* Alerts as they are after the last step; borrowed. */
void replay_each_alert(const struct replay *replay,
                       void (*fn)(const struct alert *alert, void *arg), void *arg);
/* Rules that failed at this step, by their place in the set. */
void replay_each_error(const struct replay *replay, wall_ms at,
                       void (*fn)(size_t group, size_t rule, const char *error, void *arg),
                       void *arg);
const struct rules *replay_rules(const struct replay *replay);
size_t replay_points(const struct replay *replay);

#endif
