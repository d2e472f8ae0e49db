/*
 * series.h: identity of a time series, shared by head, snapshots, history and exposition.
 *
 * The series table belongs to the engine's thread: only it adds and sweeps. A struct series is
 * immutable and counted; any thread may hold a reference. Ids grow and are never used again
 * in one process. The table has a cap; what is over it is refused and counted
 * (pgvigil_series_dropped_total), never a crash.
 */
#ifndef PGVIGIL_MODEL_SERIES_H
#define PGVIGIL_MODEL_SERIES_H

#include <stdatomic.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/model/labels.h"

#define SERIES_CAP_DEFAULT 100000

struct series {
    uint32_t id;
    _Atomic uint32_t refs;
    uint64_t hash;
    const char *name;     /* value of __name__ */
    const char *text;     /* name{a="b"} as on /metrics, without job and instance */
    struct labels labels; /* with __name__ */
};

struct series_table;

struct series_table *series_table_create(size_t cap);
void series_table_destroy(struct series_table **table);
/*
 * The series of these labels (sorted, with __name__), made if new; the table keeps it alive until
 * a sweep finds nobody else holding it. NULL when the cap is reached or a label is over its limit
 * (counted). Borrowed: take series_ref to keep it over a turn.
 */
struct series *series_table_get(struct series_table *table, const struct labels *labels);
/* The same from a name and up to LABELS_MAX unsorted pairs; pairs with empty values are dropped. */
struct series *series_table_make(struct series_table *table, const char *name,
                                 const struct label *pairs, size_t n);
struct series *series_ref(struct series *s);
void series_unref(struct series *s);
/* Frees series that nobody but the table holds. Engine thread, now and then. */
void series_table_sweep(struct series_table *table);
size_t series_table_count(const struct series_table *table);
/* Readable from any thread. */
uint64_t series_table_dropped(const struct series_table *table);

#endif
