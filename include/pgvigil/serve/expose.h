/*
 * expose.h: the page /metrics from snapshots: Prometheus text 0.0.4 and OpenMetrics. Pure; any
 * thread.
 *
 * Families in order of name, samples of one family together whatever source they came from;
 * timestamps are left to the scraper. Both forms have the same series.
 */
#ifndef PGVIGIL_SERVE_EXPOSE_H
#define PGVIGIL_SERVE_EXPOSE_H

#include "pgvigil/base/buf.h"
#include "pgvigil/model/batch.h"
#include "pgvigil/model/metrics.h"

#define EXPOSE_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* OpenMetrics 0.0.1 is the same text; some scrapers ask for it by this name. */
enum expose_format { EXPOSE_TEXT, EXPOSE_OPENMETRICS, EXPOSE_OPENMETRICS_0_0_1 };

const char *expose_content_type(enum expose_format format);
void expose(enum expose_format format, struct batch *const *batches, size_t n, struct buf *out);
/* "seconds" or "bytes" where the family's name ends in it, else "". */
const char *expose_unit(const struct metric_info *info);

#endif
