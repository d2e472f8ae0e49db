/*
 * labels.h: a label set: sorted, unique names, the metric name as `__name__`.
 *
 * Plain borrowed data; who made it owns the strings. Comparison order is by name, then value,
 * pair by pair, which is Prometheus' order of results.
 */
#ifndef PGVIGIL_MODEL_LABELS_H
#define PGVIGIL_MODEL_LABELS_H

#include "pgvigil/base/arena.h"
#include "pgvigil/base/buf.h"

#define LABELS_MAX      32
#define LABEL_NAME_MAX  128
#define LABEL_VALUE_MAX 1024

struct label {
    const char *name, *value;
};

struct labels {
    size_t n;
    const struct label *v;
};

#define LABEL_METRIC "__name__"

/* Value, or NULL. */
const char *labels_get(const struct labels *ls, const char *name);
/* Value, or "" (PromQL: an absent label is an empty one). */
const char *labels_get_or_empty(const struct labels *ls, const char *name);
uint64_t labels_hash(const struct labels *ls);
int labels_compare(const struct labels *a, const struct labels *b);
bool labels_equal(const struct labels *a, const struct labels *b);
/* Sorts pairs in place by name (for builders); drops pairs with an empty value; returns the count.
 */
size_t labels_sort(struct label *pairs, size_t n);
/* Deep copy into the arena. */
struct labels labels_copy(struct arena *arena, const struct labels *ls);
/* name{a="b",c="d"} with Prometheus escaping; `{...}` alone when there is no name. */
void labels_print(const struct labels *ls, struct buf *out);
/* {"a":"b","c":"d"} */
void labels_print_json(const struct labels *ls, struct buf *out);
/*
 * Alertmanager's fingerprint of a label set (64-bit FNV-1a over name 0xFF value 0xFF, sorted), so
 * that two agents and an Alertmanager call the same alert the same.
 */
uint64_t labels_fingerprint(const struct labels *ls);

#endif
