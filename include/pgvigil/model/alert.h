/*
 * alert.h: plain data of an alert as it leaves the rules: what was decided, for store and delivery.
 */
#ifndef PGVIGIL_MODEL_ALERT_H
#define PGVIGIL_MODEL_ALERT_H

#include <stdatomic.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/model/labels.h"

/*
 * Values of the label `severity` that mean less than a message: info is for the report; none is for
 * an alert that always fires (Watchdog) and says that the way works, not that something is wrong.
 */
#define SEVERITY_INFO "info"
#define SEVERITY_NONE "none"

enum alert_state { ALERT_INACTIVE, ALERT_PENDING, ALERT_FIRING, ALERT_RESOLVED };
const char *alert_state_name(enum alert_state state);

struct alert {
    enum alert_state state;
    uint64_t fingerprint;      /* labels_fingerprint(labels) */
    struct labels labels;      /* with alertname, severity, cluster, external labels */
    struct labels annotations; /* expanded */
    double value;
    wall_ms active_at;   /* pending since */
    wall_ms fired_at;    /* WALL_UNSET while pending */
    wall_ms resolved_at; /* WALL_UNSET until resolved */
    wall_ms keep_until;  /* keep_firing_for end once the condition is gone; WALL_UNSET = holds */
    bool held;           /* stale: its input is unobservable */
    const char *group, *rule; /* where it comes from */
    const char *expr;         /* for generatorURL */
    const char *reason;       /* why it was resolved, "" otherwise: removed, lost, ... */
};

/* false for severity none: nothing is wrong when it fires. */
bool alert_counts(const struct alert *a);

/* Deep copy, one allocation tree freed by alert_destroy. */
struct alert *alert_copy(const struct alert *a);
void alert_destroy(struct alert **a);

/*
 * The alerts as they are shown: published by the engine after the commit, read by any thread.
 * A list is immutable and counted.
 */
struct alert_list {
    _Atomic uint32_t refs;
    wall_ms at;
    size_t n;
    struct alert **alerts; /* pending, firing and lately resolved */
};
struct alert_list *alert_list_create(wall_ms at, size_t n); /* alerts are filled by the caller */
struct alert_list *alert_list_ref(struct alert_list *l);
void alert_list_unref(struct alert_list *l);

struct alert_board;
struct alert_board *alert_board_create(void);
void alert_board_destroy(struct alert_board **b);
void alert_board_put(struct alert_board *b, struct alert_list *l); /* takes the reference */
struct alert_list *alert_board_get(struct alert_board *b);         /* never NULL; unref it */

#endif
