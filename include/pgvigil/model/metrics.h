/*
 * metrics.h: the catalogue of metric families: name, type, help. One table, used by /metrics,
 * metadata and the manual. Every metric that the agent emits must be in it (a test checks).
 */
#ifndef PGVIGIL_MODEL_METRICS_H
#define PGVIGIL_MODEL_METRICS_H

#include "pgvigil/base/base.h"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };
/* As expositions and metadata write it: "gauge", ... */
const char *metric_type_name(enum metric_type type);

struct metric_info {
    const char *name; /* family name; counters end in _total */
    enum metric_type type;
    const char
        *collector; /* which collector feeds it: "replication", "activity", ... (sources.h) */
    const char *help;
};

/* By family or by a series name of the family (_bucket, _sum, _count); NULL if unknown. */
const struct metric_info *metric_info_find(const char *name);
/* The whole table, sorted by name. */
const struct metric_info *metric_info_all(size_t *n);

#endif
