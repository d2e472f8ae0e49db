/*
 * history.h: history.db: every sample of every poll on disk, written by its own thread.
 *
 * The writer thread commits at most once a second (synchronous=NORMAL, forced checkpoint every
 * 30 s, so a crash loses about the last second and a power loss 31 s at most), trims by age, and is
 * the only one that writes or checkpoints. The queue is bounded in bytes: when the disk stalls,
 * the oldest history is dropped and counted, nobody waits.
 * A fault sets `degraded` with a text; the thread keeps trying (reopen with backoff).
 * A series missing from its source's next batch gets a stale marker; so an empty batch ends all
 * series of its source. Tables (plain sqlite3 can read them): series(id, name, labels, last_seen),
 * samples(t, series, value), where value NULL is a stale marker, or a NaN if the row is also in
 * nan_samples(t, series).
 */
#ifndef PGVIGIL_STORE_HISTORY_H
#define PGVIGIL_STORE_HISTORY_H

#include "pgvigil/base/hist.h"
#include "pgvigil/model/batch.h"
#include "pgvigil/model/reader.h"

#define HISTORY_QUEUE_BYTES (16 * 1024 * 1024)

struct history;

struct history_opts {
    const char *path;
    const char *vfs; /* NULL = default */
    int64_t retention_ms;
    int64_t max_size_bytes;
    /* Called once when nothing could be opened at start: the daemon runs on, degraded. */
};

struct history_stats {
    bool degraded;
    char error[200];
    uint64_t samples_total, dropped_total, commits_total;
    size_t queued_bytes;
    int64_t file_bytes;
};

/* Starts the thread; a file that cannot be opened is told in stats, not here. Never NULL. */
struct history *history_create(const struct history_opts *opts);
/* Writes what is queued, waits at most 3 s, closes. */
void history_destroy(struct history **history);
/* Takes a reference; never blocks. */
void history_put(struct history *history, struct batch *batch);
void history_reconfigure(struct history *history, int64_t retention_ms, int64_t max_size_bytes);
void history_stats(struct history *history, struct history_stats *out);
const struct hist *history_commit_time(const struct history *history);

/* ---- reading, also with the daemon down: a connection of its own, one thread at a time ---- */
struct reader *history_reader_open(const char *path, struct err *err) MUST_CHECK;
void history_reader_close(struct reader **reader);
/*
 * Selects ask this now and then and give up with ERR_TIMEOUT once it is true; NULL = never. A walk
 * over years of samples has no other end.
 */
void history_reader_watch(struct reader *reader, bool (*cancelled)(void *arg), void *arg);

#endif
