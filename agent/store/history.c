/*
 * history.c: the thread that owns history.db.
 *
 * Why so: the engine must never wait for a disk, so it only puts a reference into a bounded queue,
 * and when the queue is full the oldest waiting batch goes. The thread wakes once a second, writes
 * all that waits in one transaction, and keeps what it could not write for the next try. After any
 * error it closes the file and opens it again later: a failed fsync must not be trusted
 * (the kernel may have dropped the pages). A damaged file is set aside and a new one begun, so that
 * one bad sector costs the past and not the future. Invariant: a batch is in the queue, in
 * `pending`, written, or counted as dropped.
 */
#include "pgvigil/store/history.h"

#include <sys/stat.h>

#include "history_parts.h"
#include "pgvigil/base/chan.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define TICK_MS          1000
#define CHECKPOINT_MS    30000
#define TRIM_MS          10000
#define TRIM_WORK_NS     UINT64_C(50000000) /* of steps in one tick */
#define RETRY_MIN_MS     1000
#define RETRY_MAX_MS     30000
#define STOP_WAIT_MS     3000
#define PENDING_BYTES    (4 * 1024 * 1024) /* of one transaction */
#define QUEUE_ITEMS      65536
#define CORRUPT_AGAIN_MS 600000 /* damaged again so soon: the disk is to blame, not the file */

struct history {
    struct owner owner; /* its lock guards stats, retention_ms, max_size_bytes */
    char *path, *vfs;
    struct chan *queue;
    struct hist commit_time;
    struct history_stats stats;
    _Atomic uint64_t dropped;
    int64_t retention_ms, max_size_bytes;

    /* the thread's own */
    struct history_writer *writer;
    struct batch **pending;
    size_t pending_count, pending_cap, pending_bytes;
    mono_ms retry_at, checkpoint_at, trim_at, corrupt_at;
    int64_t backoff_ms;
};

static size_t batch_bytes(const struct batch *b)
{
    return sizeof(*b) + b->n * sizeof(b->samples[0]);
}

void history_put(struct history *h, struct batch *batch)
{
    batch_ref(batch);
    while (!chan_put(h->queue, batch, batch_bytes(batch))) {
        struct batch *oldest = chan_take(h->queue);
        if (oldest == NULL)
            oldest = batch; /* larger than the whole queue, or closed */
        h->dropped += oldest->n;
        bool gone = oldest == batch;
        batch_unref(oldest);
        if (gone)
            return;
    }
}

/* ---- thread ---- */
static void degrade(struct history *h, const struct err *err)
{
    char quoted[300];

    pthread_mutex_lock(&h->owner.lock);
    bool was = h->stats.degraded;
    h->stats.degraded = true;
    str_copy(h->stats.error, sizeof(h->stats.error), err->text);
    pthread_mutex_unlock(&h->owner.lock);
    if (!was)
        log_error("history is not written error=%s", log_quote(quoted, sizeof(quoted), err->text));
}

static void recovered(struct history *h)
{
    pthread_mutex_lock(&h->owner.lock);
    bool was = h->stats.degraded;
    h->stats.degraded = false;
    h->stats.error[0] = '\0';
    pthread_mutex_unlock(&h->owner.lock);
    if (was)
        log_info("history is written again path=%s", h->path);
}

/* True if the damaged file is out of the way and a new one may be made at once. */
static bool set_aside(struct history *h, struct now now)
{
    char moved[512];
    struct err err;

    if (mono_is_set(h->corrupt_at) && mono_diff(now.mono, h->corrupt_at) < CORRUPT_AGAIN_MS)
        return false;
    h->corrupt_at = now.mono;
    if (!sql_set_aside(h->path, now.wall, moved, sizeof(moved), &err)) {
        log_error("a damaged file cannot be set aside path=%s error=\"%s\"", h->path, err.text);
        return false;
    }
    log_error("history file is damaged and was set aside path=%s moved=%s", h->path, moved);
    return true;
}

/* Closes, decides when to open again. */
static void give_up(struct history *h, struct now now, const struct err *err)
{
    degrade(h, err);
    history_writer_close(&h->writer);
    h->backoff_ms = i64_min(i64_max(h->backoff_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
    if (err->kind == ERR_CORRUPT && set_aside(h, now))
        h->backoff_ms = 0;
    h->retry_at = mono_add(now.mono, h->backoff_ms);
}

static void open_writer(struct history *h, struct now now)
{
    struct err err;

    if (h->writer != NULL || mono_before(now.mono, h->retry_at))
        return;
    h->writer = history_writer_open(h->path, h->vfs, &err);
    if (h->writer == NULL) {
        give_up(h, now, &err);
        return;
    }
    h->checkpoint_at = mono_add(now.mono, CHECKPOINT_MS);
}

static void fill_pending(struct history *h)
{
    struct batch *b;

    while (h->pending_bytes < PENDING_BYTES && (b = chan_take(h->queue)) != NULL) {
        if (h->pending_count == h->pending_cap) {
            h->pending_cap = h->pending_cap == 0 ? 16 : h->pending_cap * 2;
            h->pending = mem_realloc_array(h->pending, h->pending_cap, sizeof(struct batch *));
        }
        h->pending[h->pending_count++] = b;
        h->pending_bytes += batch_bytes(b);
    }
}

static void release_pending(struct history *h)
{
    for (size_t i = 0; i < h->pending_count; i++)
        batch_unref(h->pending[i]);
    h->pending_count = 0;
    h->pending_bytes = 0;
}

static void write_pending(struct history *h, struct now now)
{
    uint64_t started = clock_stage_ns(), rows;
    struct err err;

    if (h->writer == NULL || h->pending_count == 0)
        return;
    if (!history_writer_put(h->writer, h->pending, h->pending_count, &rows, &err)) {
        give_up(h, now, &err);
        return;
    }
    hist_observe_ns(&h->commit_time, clock_stage_ns() - started);
    release_pending(h);
    h->backoff_ms = 0;
    recovered(h);
    pthread_mutex_lock(&h->owner.lock);
    h->stats.samples_total += rows;
    h->stats.commits_total++;
    pthread_mutex_unlock(&h->owner.lock);
}

static int64_t size_of(const char *path, const char *suffix)
{
    char name[4096];
    struct stat st;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return stat(name, &st) == 0 ? st.st_size : 0;
}

static void trim(struct history *h, struct now now)
{
    uint64_t started = clock_stage_ns();
    struct err err;
    bool more;

    pthread_mutex_lock(&h->owner.lock);
    int64_t retention = h->retention_ms, max_size = h->max_size_bytes;
    pthread_mutex_unlock(&h->owner.lock);
    do {
        if (!history_writer_trim(h->writer, now.wall, retention, max_size, &more, &err)) {
            give_up(h, now, &err);
            return;
        }
    } while (more && clock_stage_ns() - started < TRIM_WORK_NS);
    h->trim_at = mono_add(now.mono, more ? 0 : TRIM_MS);
    int64_t bytes = size_of(h->path, "") + size_of(h->path, "-wal");
    pthread_mutex_lock(&h->owner.lock);
    h->stats.file_bytes = bytes;
    pthread_mutex_unlock(&h->owner.lock);
}

static void maintain(struct history *h, struct now now)
{
    struct err err;

    if (h->writer != NULL && !mono_before(now.mono, h->trim_at))
        trim(h, now);
    if (h->writer == NULL || mono_before(now.mono, h->checkpoint_at))
        return;
    h->checkpoint_at = mono_add(now.mono, CHECKPOINT_MS);
    if (!history_writer_checkpoint(h->writer, &err))
        give_up(h, now, &err);
}

static bool wait_for_work(struct history *h)
{
    pthread_mutex_lock(&h->owner.lock);
    if (!h->owner.closing)
        owner_wait(&h->owner, TICK_MS);
    bool closing = h->owner.closing;
    pthread_mutex_unlock(&h->owner.lock);
    return !closing;
}

/* Everything that waits, as long as the file takes it; one more attempt if it was failing. */
static void write_rest(struct history *h)
{
    h->retry_at = MONO_UNSET;
    open_writer(h, clock_read());
    do {
        fill_pending(h);
        write_pending(h, clock_read());
    } while (h->writer != NULL && chan_count(h->queue) > 0);
}

static void *run(void *arg)
{
    struct history *h = arg;
    bool running = true;

    while (running) {
        struct now now = clock_read();
        open_writer(h, now);
        fill_pending(h);
        write_pending(h, now);
        maintain(h, now);
        running = wait_for_work(h);
    }
    write_rest(h);
    history_writer_close(&h->writer);
    owner_end(&h->owner);
    return NULL;
}

/* ---- life ---- */
struct history *history_create(const struct history_opts *opts)
{
    struct history *h = mem_alloc(sizeof(*h));

    h->path = mem_strdup(opts->path);
    h->vfs = opts->vfs != NULL ? mem_strdup(opts->vfs) : NULL;
    h->queue = chan_create(QUEUE_ITEMS, HISTORY_QUEUE_BYTES);
    h->retention_ms = opts->retention_ms;
    h->max_size_bytes = opts->max_size_bytes;
    h->retry_at = h->trim_at = h->checkpoint_at = h->corrupt_at = MONO_UNSET;
    owner_init(&h->owner);
    owner_start(&h->owner, "pgv-history", run, h);
    return h;
}

static void release_batch(void *item)
{
    batch_unref(item);
}

void history_destroy(struct history **hp)
{
    struct history *h = *hp;

    if (h == NULL)
        return;
    *hp = NULL;
    if (!owner_stop(&h->owner, STOP_WAIT_MS)) {
        log_warn("history: the disk does not answer; what was queued is lost path=%s", h->path);
        return; /* the thread still uses h */
    }
    release_pending(h);
    chan_destroy(&h->queue, release_batch);
    mem_free(h->pending);
    mem_free(h->path);
    mem_free(h->vfs);
    mem_free(h);
}

void history_reconfigure(struct history *h, int64_t retention_ms, int64_t max_size_bytes)
{
    pthread_mutex_lock(&h->owner.lock);
    h->retention_ms = retention_ms;
    h->max_size_bytes = max_size_bytes;
    pthread_mutex_unlock(&h->owner.lock);
}

void history_stats(struct history *h, struct history_stats *out)
{
    pthread_mutex_lock(&h->owner.lock);
    *out = h->stats;
    pthread_mutex_unlock(&h->owner.lock);
    out->dropped_total = h->dropped;
    out->queued_bytes = chan_bytes(h->queue);
}

const struct hist *history_commit_time(const struct history *h)
{
    return &h->commit_time;
}
