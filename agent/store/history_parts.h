/*
 * history_parts.h: the insides of history.db: its schema, and the writer that the thread drives.
 */
#ifndef STORE_HISTORY_PARTS_H
#define STORE_HISTORY_PARTS_H

#include "pgvigil/model/batch.h"
#include "sql.h"

#define SEEN_EVERY_MS 3600000 /* how often last_seen of a living series is written */

/* path and vfs filled in. */
struct db_spec history_spec(const char *path, const char *vfs);

/* ---- which row a series has in the file, and when it was last seen (history_cache.c) ---- */
struct cached_series {
    uint32_t id;     /* series.id; 0 = free slot is told by row == 0 */
    uint32_t round;  /* the last batch that had it */
    int64_t row;     /* series.id in the file; > 0 */
    int64_t seen_t;  /* newest sample */
    int64_t saved_t; /* last_seen in the file */
};

struct series_cache {
    struct cached_series *slots;
    size_t cap, n;
};

void series_cache_clear(struct series_cache *c);
struct cached_series *series_cache_find(const struct series_cache *c, uint32_t id);
/* The id must be new. Forgets what was not seen since forget_t when it must grow. */
struct cached_series *series_cache_add(struct series_cache *c, uint32_t id, int64_t row,
                                       int64_t seen_t, int64_t forget_t);

/* ---- the writer: one thread at a time; all errors leave the transaction rolled back ---- */
struct history_writer;

struct history_writer *history_writer_open(const char *path, const char *vfs,
                                           struct err *err) MUST_CHECK;
void history_writer_close(struct history_writer **w);
/* One transaction with all of them. *samples: rows written. */
bool history_writer_put(struct history_writer *w, struct batch *const *batches, size_t n,
                        uint64_t *samples, struct err *err) MUST_CHECK;
bool history_writer_checkpoint(struct history_writer *w, struct err *err) MUST_CHECK;
/*
 * One bounded step of trimming by age and size. *more: there is more to do now.
 */
bool history_writer_trim(struct history_writer *w, wall_ms now, int64_t retention_ms,
                         int64_t max_size_bytes, bool *more, struct err *err) MUST_CHECK;

#endif
