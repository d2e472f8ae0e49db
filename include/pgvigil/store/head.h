/*
 * head.h: the newest samples in memory (2 h), for rules and the page.
 *
 * The engine appends; readers on other threads copy points out under a short lock that the gate
 * never takes. A series that a source no longer sends gets a stale marker, so that it ends at once
 * in PromQL instead of after the 5 minutes of look-back. Memory is bounded by age and by bytes
 * (oldest points go first and are counted).
 */
#ifndef PGVIGIL_STORE_HEAD_H
#define PGVIGIL_STORE_HEAD_H

#include "pgvigil/model/batch.h"
#include "pgvigil/model/reader.h"

#define HEAD_KEEP_MS   (2 * 3600 * 1000)
#define HEAD_BYTES_MAX (64 * 1024 * 1024)

struct head;

struct head *head_create(int64_t keep_ms, size_t max_bytes);
void head_destroy(struct head **head);
/* Points older than the series' newest are dropped and counted; equal time: the first one stays. */
void head_append(struct head *head, const struct batch *batch);
/* Ends every series of the source at this time. */
void head_end_source(struct head *head, const char *source, wall_ms at);
/* Drops what is older than keep_ms, and series without points. Now and then. */
void head_trim(struct head *head, wall_ms now);
/* Borrowed; usable from any thread until head_destroy. */
struct reader *head_reader(struct head *head);

/* From this time on nothing is missing: the first append, moved by trimming; INT64_MAX before. */
int64_t head_complete_since(struct head *head);

struct head_stats {
    size_t series, bytes;
    uint64_t samples_total, dropped_total;
};
struct head_stats head_stats(struct head *head);

#endif
