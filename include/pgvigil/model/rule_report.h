/*
 * rule_report.h: the rules as they are shown: definitions and how their last run went.
 *
 * Made by the engine after a load and then now and then, read by any thread. A report is immutable
 * and counted; all it points to is in its arena. Alerts are not in it: they are shown after their
 * commit (alert.h), and a reader joins both by group, rule and expression.
 */
#ifndef PGVIGIL_MODEL_RULE_REPORT_H
#define PGVIGIL_MODEL_RULE_REPORT_H

#include <stdatomic.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/model/labels.h"

struct rule_shown {
    bool is_alert;
    const char *name;
    const char *expr;                  /* as it stands in the file: what alerts are told apart by */
    const char *query;                 /* the same as Prometheus words it */
    struct labels labels, annotations; /* templates, not expanded */
    int64_t for_ms, keep_firing_ms;
    const char *error;   /* of the last run; "" = ok */
    const char *note;    /* why the last result is probably not what was meant; "" = none */
    const char *missing; /* which selector finds no series, and why; "" = all do */
    int64_t run_ns;      /* the last run took */
    wall_ms run_at;      /* WALL_UNSET = not yet */
};

struct rule_group_shown {
    const char *name, *file;
    int64_t interval_ms;
    int64_t query_offset_ms;
    int limit;
    int64_t run_ns;
    wall_ms run_at;
    struct rule_shown *rules;
    size_t n;
};

struct rule_report {
    _Atomic uint32_t refs;
    struct arena *arena;
    struct rule_group_shown *groups;
    size_t n;
};

struct rule_report *rule_report_create(size_t groups); /* filled by the caller */
void rule_report_unref(struct rule_report *r);

struct rule_board;
struct rule_board *rule_board_create(void);
void rule_board_destroy(struct rule_board **b);
void rule_board_put(struct rule_board *b, struct rule_report *r); /* takes the reference */
struct rule_report *rule_board_get(struct rule_board *b);         /* never NULL; unref it */

#endif
