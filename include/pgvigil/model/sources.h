/*
 * sources.h: which collector of which target works: the registry behind "missing data neither
 * resolves nor fires" and behind pgvigil_collector_* metrics.
 *
 * Engine thread only. A source is "<target>/<collector>" as in batch.h. A metric names its
 * collector in the catalogue (metrics.h), so an alert's rule can be traced to its inputs.
 */
#ifndef PGVIGIL_MODEL_SOURCES_H
#define PGVIGIL_MODEL_SOURCES_H

#include "pgvigil/base/clock.h"
#include "pgvigil/model/labels.h"

/* A failure that is a matter of rights: nobody but the operator can mend it. */
enum source_refusal { REFUSAL_NONE, REFUSAL_LOGIN, REFUSAL_GRANT };

struct source_state {
    char target[64];
    char collector[32];
    bool configured;             /* should be working */
    bool failing;                /* the last poll failed, or it is late by more than 3 intervals */
    enum source_refusal refusal; /* of the last poll */
    int64_t interval_ms;
    uint64_t polls_total, failures_total, skipped_total;
    int64_t duration_us; /* last good poll */
    wall_ms last_good;   /* WALL_UNSET = never */
    mono_ms last_good_mono;
    char error[200]; /* for people, masked; "" = none */
};

struct sources;

struct sources *sources_create(void);
void sources_destroy(struct sources **s);
/* Finds or makes; borrowed, stable until sources_remove_target. */
struct source_state *sources_get(struct sources *s, const char *target, const char *collector);
void sources_good(struct source_state *st, struct now now, int64_t duration_us);
/* text is copied; returns true when it was not failing before (log it once). */
bool sources_bad(struct source_state *st, const char *text);
/* After sources_bad: why, if it is a matter of rights. */
void sources_refused(struct source_state *st, enum source_refusal why);
/* What the target refuses to one of its collectors; a login counts before a grant. */
enum source_refusal sources_refusal(const struct sources *s, const char *target);
void sources_remove_target(struct sources *s, const char *target);
/* Marks sources that are late; call each tick. */
void sources_check_late(struct sources *s, mono_ms now);
/*
 * Is a collector that feeds this metric failing, late or without any answer yet for the target
 * named by the labels (`node`, else `replica`, else `pool`)? false for unknown metrics and targets.
 */
bool sources_metric_failing(const struct sources *s, const char *metric,
                            const struct labels *labels);
void sources_each(const struct sources *s, void (*fn)(const struct source_state *st, void *arg),
                  void *arg);

#endif
