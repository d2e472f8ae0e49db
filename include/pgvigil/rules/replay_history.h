/*
 * replay_history.h: rules over the samples of a history file: when each alert would have fired.
 *
 * The file is read in slices; what rules look back on is kept in memory, at most
 * REPLAY_HISTORY_POINTS samples (16 bytes each), beside one slice (at most 128 MiB while it is
 * read) and what the rules produce (replay.h). The caller may leave out rules that look back far.
 *  The replay begins earlier than asked
 * (REPLAY_WARM_MAX_MS and the longest `for`), so that what is shown is right from the start; series
 * that rules record are taken from the file up to there and made anew from then on.
 * While nothing at all was sampled the agent was down: such gaps are named, nothing is evaluated in
 * them and alerts do not age. Missing data of one collector is not held. One thread.
 */
#ifndef PGVIGIL_RULES_REPLAY_HISTORY_H
#define PGVIGIL_RULES_REPLAY_HISTORY_H

#include "pgvigil/rules/replay.h"

#define REPLAY_HISTORY_POINTS 16000000
#define REPLAY_WARM_MAX_MS    (2 * 3600 * 1000)
#define REPLAY_FIRINGS_MAX    100000
#define REPLAY_GAPS_MAX       10000

struct replay_gap {
    wall_ms from, to; /* last sample before it or the start, first one behind it or the end */
    wall_ms resumed;  /* first step behind it: when every collector has been heard */
};

/* One alert from firing to its end. */
struct replay_firing {
    struct alert *alert; /* as it was at its peak */
    wall_ms from, to;    /* to: WALL_UNSET = fires at the end of the data */
    double peak;         /* highest value while it fired */
};

/* What became of one rule; alerting rules first, in the order of their files. */
struct replay_rule {
    const char *group, *file, *name, *expr;
    bool is_alert;
    bool left_out;     /* looks back further than fits into memory */
    int64_t reach_ms;  /* how far it looks back */
    uint64_t failures; /* evaluations with an error */
    char error[200];   /* of the last of them */
    struct replay_firing *firings;
    size_t firing_count;
    int64_t firing_ms; /* in all, within start and end */
};

struct replay_outcome {
    wall_ms start, end, data_end; /* data_end: what still fires is known up to here */
    struct replay_rule *rules;
    size_t rule_count;
    struct replay_gap *gaps;
    size_t gap_count;
    size_t points_most;   /* samples in memory at a time */
    uint64_t points_read; /* in all */
    struct arena *arena;
};

struct replay_history_opts {
    struct reader *history;
    int64_t evaluation_interval_ms;
    const struct label *external_labels;
    size_t external_label_count;
    wall_ms start, end;
    size_t max_points;    /* 0 = REPLAY_HISTORY_POINTS */
    int64_t max_reach_ms; /* rules that look back further are left out; 0 = none */
    /* How far it has come, now and then. May be NULL. */
    void (*progress)(wall_ms at, void *arg);
    void *arg;
};

/* Takes over the set. NULL with the reason; ERR_LIMIT: try again with less reach. */
struct replay_outcome *replay_history_run(const struct replay_history_opts *opts,
                                          struct rule_set *set, struct err *err) MUST_CHECK;
void replay_outcome_destroy(struct replay_outcome **outcome);

#endif
