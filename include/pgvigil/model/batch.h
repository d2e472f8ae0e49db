/*
 * batch.h: the samples of one poll of one source: immutable, counted, at one time.
 *
 * A batch is built by the engine (struct batch_builder), then shared as it is: /metrics prints the
 * newest batch of each source, the head copies the points, the history thread writes them. So a
 * scrape never computes and never blocks a poll. A source is "<target>/<collector>", for example
 * "pg1/activity", "app/pools", "pgvigil/self"; a series belongs to one source only.
 */
#ifndef PGVIGIL_MODEL_BATCH_H
#define PGVIGIL_MODEL_BATCH_H

#include "pgvigil/model/series.h"

#define BATCH_SOURCE_MAX  128
#define BATCH_SAMPLES_MAX 50000

struct sample {
    struct series *series; /* the batch holds a reference */
    double value;
};

struct batch {
    _Atomic uint32_t refs;
    wall_ms at;
    char source[BATCH_SOURCE_MAX];
    size_t n;
    struct sample samples[];
};

struct batch *batch_ref(struct batch *b);
void batch_unref(struct batch *b);

/* Reusable; engine thread. */
struct batch_builder;
struct batch_builder *batch_builder_create(struct series_table *table);
void batch_builder_destroy(struct batch_builder **builder);
/*
 * Starts a batch; labels given here are put on every sample (cluster, node, ...), NULL-terminated
 * list of name, value pairs of at most 8; strings are copied.
 */
void batch_begin(struct batch_builder *builder, const char *source, wall_ms at,
                 const char *const *common);
/* Adds a sample; pairs is a NULL-terminated list "name", "value", ...; empty values drop out. */
void batch_add(struct batch_builder *builder, const char *metric, double value,
               const char *const *pairs);
/* Adds a sample of a series that the caller keeps. */
void batch_add_series(struct batch_builder *builder, struct series *series, double value);
/* Takes what was added (one reference for the caller). A series added twice: the last one wins. */
struct batch *batch_finish(struct batch_builder *builder);

/* Shorthand: BATCH_ADD(b, "db_up", 1, "node", "pg1"). */
#define BATCH_ADD(builder, metric, value, ...) \
    batch_add((builder), (metric), (value), (const char *const[]){__VA_OPT__(__VA_ARGS__, ) NULL})

/* ---- the newest batch of each source: written by the engine, read by any thread ---- */
struct snapshots;

struct snapshots *snapshots_create(void);
void snapshots_destroy(struct snapshots **s);
/* Takes a reference of its own; replaces what the source had. */
void snapshots_put(struct snapshots *s, struct batch *b);
/* The source has nothing to show any more (failed, removed). */
void snapshots_drop(struct snapshots *s, const char *source);
/* References to all newest batches, sorted by source; release each with batch_unref, the array
 * with mem_free. */
struct batch **snapshots_get(struct snapshots *s, size_t *n);

#endif
