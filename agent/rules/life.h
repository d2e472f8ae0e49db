/*
 * life.h: the life cycle of the alerts of one rule: instances and the table that moves them.
 */
#ifndef AGENT_RULES_LIFE_H
#define AGENT_RULES_LIFE_H

#include "pgvigil/base/mem.h"
#include "pgvigil/model/alert.h"
#include "pgvigil/rules/rule_file.h"
#include "pgvigil/rules/rules.h"

/* uthash must abort like the rest of us when memory is out. */
#define uthash_malloc(n)  mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#include <uthash.h>

#define ALERTS_PER_RULE_MAX 20000

/* What an evaluation means for one alert. */
enum life_event {
    LIFE_TRUE_WAIT, /* the condition holds, `for` has not passed */
    LIFE_TRUE_DUE,  /* the condition holds, `for` has passed */
    LIFE_KEPT,      /* the condition is gone, keep_firing_for has not passed */
    LIFE_HELD,      /* the condition is gone because its input is */
    LIFE_GONE,      /* the condition is gone */
    LIFE_EXPIRED    /* resolved long enough ago to be forgotten */
};

struct life_instance {
    uint64_t fingerprint; /* key */
    struct alert *alert;
    mono_ms active, gone_since, held_since, resolved; /* MONO_UNSET where it does not apply */
    uint64_t run;                                     /* last evaluation that saw it */
    bool is_restored;                                 /* pending of the last run, not seen yet */
    bool is_unseen;                                   /* of the last run, not seen yet */
    wall_ms down_since;                               /* when is_restored: end of the last run */
    UT_hash_handle hh;
};

struct life {
    const struct rules_opts *opts;
    const struct rule *rule;
    const char *group;
    struct life_instance *instances; /* by fingerprint */
    char **metrics;                  /* that feed the rule */
    size_t metric_count;
    uint64_t run;
    bool lacks_input; /* in this evaluation: a rule that feeds it gave nothing */
    int64_t fill_ms;  /* so long after a start samples of before may be missing */
    mono_ms whole_at; /* when none does; MONO_UNSET: not evaluated since the start */
};

void life_init(struct life *life, const struct rules_opts *opts, const struct rule *rule,
               const char *group);
void life_deinit(struct life *life);
/* What feeds this rule feeds the alerts too. */
void life_add_inputs(struct life *life, const struct rule *rule);
/* An evaluation begins; then life_seen once for each result, then life_end. */
void life_begin(struct life *life, bool lacks_input, struct now now);
/* alert: labels, annotations and value of this run, borrowed. */
void life_seen(struct life *life, const struct alert *alert, struct now now);
void life_end(struct life *life, struct now now);
/* How many would be pending or firing if these were the results of an evaluation. */
size_t life_active_after(struct life *life, const struct alert *alerts, size_t n, struct now now);
/* Every alert ends: its rule is gone, or over its limit. */
void life_resolve_all(struct life *life, const char *reason, struct now now);
/* An alert of the last run, which ended at down_since (WALL_UNSET = nobody knows); borrowed. */
void life_restore(struct life *life, const struct alert *alert, wall_ms down_since, struct now now);
/* All instances of `from` move to `to` (reload of a rule that stays). */
void life_move(struct life *from, struct life *to);

#endif
