/*
 * expose.h: Prometheus text 0.0.4 from snapshots. Pure; any thread.
 *
 * Families in order of name, HELP and TYPE once each, samples of one family together whatever
 * source they came from; timestamps are left to the scraper.
 */
#ifndef PGVIGIL_SERVE_EXPOSE_H
#define PGVIGIL_SERVE_EXPOSE_H

#include "pgvigil/base/buf.h"
#include "pgvigil/model/batch.h"

#define EXPOSE_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

void expose_text(struct batch *const *batches, size_t n, struct buf *out);

#endif
