/*
 * sample_store.h: samples that are given to a replay: plain sorted arrays, by metric name and
 * labels.
 */
#ifndef AGENT_RULES_SAMPLE_STORE_H
#define AGENT_RULES_SAMPLE_STORE_H

#include "pgvigil/model/reader.h"

struct sample_store;

/* max_points: what it holds at most at a time. */
struct sample_store *sample_store_create(size_t max_points);
void sample_store_destroy(struct sample_store **store);
/* Behind what the series has; points that are not newer are left out. */
bool sample_store_add(struct sample_store *store, const struct labels *labels,
                      const struct point *points, size_t n, struct err *err) MUST_CHECK;
/* Forgets the points of this series, if there is one. */
void sample_store_clear(struct sample_store *store, const struct labels *labels);
/* Has the series another value at this very time? */
bool sample_store_contradicts(struct sample_store *store, const struct labels *labels,
                              const struct point *p);
/* Drops points at or before the time that keep() gives for the metric ("" = series without name).
 */
void sample_store_trim(struct sample_store *store, int64_t (*before)(const char *metric, void *arg),
                       void *arg);
bool sample_store_select(struct sample_store *store, const struct read_request *req,
                         struct arena *arena, struct read_result *out, struct err *err) MUST_CHECK;
size_t sample_store_points(const struct sample_store *store);

/* What either result has; of two points of a series at one time a's stays. */
struct read_result read_result_merge(struct arena *arena, const struct read_result *a,
                                     const struct read_result *b, bool last_only);

#endif
