/*
 * alerts_db.c: the thread that owns alerts.db.
 *
 * Why so: a commit waits for the disk, and delivery must not. The engine hands over whole
 * transactions and is told once, after the first attempt, whether it holds; a transaction that
 * failed stays first in line and is tried each second, and those behind it are told at once that
 * they wait, so that the engine delivers from memory within its deadline. After any failure the
 * file is closed and opened again: a repeated fsync may lie about pages that the kernel dropped.
 * Invariants: transactions reach the file in the order of alerts_db_commit, each at most once
 * acknowledged, and none is dropped but those the gate repeats anyway (nodes, timeline) when
 * QUEUE_MAX of them wait, and those that the file can never take.
 */
#include "pgvigil/store/alerts_db.h"

#include "alerts_parts.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define RETRY_MS      1000
#define RETRY_SLOW_MS 30000 /* newer or foreign file: only a person can help */
#define IDLE_MS       10000
#define CHECKPOINT_MS 30000
#define PRUNE_MS      600000
#define STOP_WAIT_MS  3000
#define QUEUE_MAX     4096

struct answer {
    struct answer *next;
    void (*done)(bool ok, const struct err *err, void *arg);
    void *arg;
    bool ok;
    struct err err;
};

struct alerts_db {
    struct owner owner; /* its lock guards the next block */
    struct alerts_tx *first, **end;
    struct answer *answers, **answers_end;
    struct alerts_db_stats stats;
    struct loop_wake *wake; /* NULL when nobody listens any more */
    bool news;              /* a transaction came since the thread looked last */

    char *path, *vfs;
    struct hist commit_time;

    /* the thread's own */
    struct alerts_file file;
    struct err last_error;
    mono_ms retry_at, checkpoint_at, prune_at;
    bool dirty; /* committed since the last checkpoint */
};

/* ---- answers: made by the thread, called on the loop ---- */
static void post_locked(struct alerts_db *db, struct alerts_tx *tx, bool ok, const struct err *err)
{
    if (tx->answered || tx->done == NULL || db->wake == NULL)
        return;
    struct answer *a = mem_alloc(sizeof(*a));
    *a = (struct answer){.done = tx->done, .arg = tx->arg, .ok = ok};
    if (err != NULL)
        a->err = *err;
    *db->answers_end = a;
    db->answers_end = &a->next;
    loop_wake_send(db->wake);
}

static struct answer *take_answers(struct alerts_db *db)
{
    pthread_mutex_lock(&db->owner.lock);
    struct answer *list = db->answers;
    db->answers = NULL;
    db->answers_end = &db->answers;
    pthread_mutex_unlock(&db->owner.lock);
    return list;
}

static void on_answers(void *arg)
{
    struct answer *list = take_answers(arg);

    while (list != NULL) {
        struct answer *next = list->next;
        list->done(list->ok, &list->err, list->arg);
        mem_free(list);
        list = next;
    }
}

/* ---- thread ---- */
static void set_failed(struct alerts_db *db, struct now now, const struct err *err)
{
    bool only_people = err->kind == ERR_NEWER || err->kind == ERR_INVALID;
    char quoted[300];

    alerts_file_close(&db->file);
    db->last_error = *err;
    db->retry_at = mono_add(now.mono, only_people ? RETRY_SLOW_MS : RETRY_MS);
    pthread_mutex_lock(&db->owner.lock);
    bool was = db->stats.degraded;
    db->stats.degraded = true;
    db->stats.failures_total++;
    str_copy(db->stats.error, sizeof(db->stats.error), err->text);
    pthread_mutex_unlock(&db->owner.lock);
    if (!was)
        log_error("alerts are not durable error=%s", log_quote(quoted, sizeof(quoted), err->text));
}

static void set_recovered(struct alerts_db *db)
{
    pthread_mutex_lock(&db->owner.lock);
    bool was = db->stats.degraded;
    db->stats.degraded = false;
    db->stats.error[0] = '\0';
    pthread_mutex_unlock(&db->owner.lock);
    if (was)
        log_info("alerts are durable again path=%s", db->path);
}

static bool ensure_open(struct alerts_db *db, struct now now)
{
    struct err err;

    if (db->file.db != NULL)
        return true;
    if (mono_before(now.mono, db->retry_at))
        return false;
    if (alerts_file_open(&db->file, db->path, db->vfs, now.wall, &err))
        return true;
    set_failed(db, now, &err);
    return false;
}

/* Those that wait behind a failure must know now, or their alerts would be late. */
static void answer_waiting(struct alerts_db *db)
{
    pthread_mutex_lock(&db->owner.lock);
    for (struct alerts_tx *tx = db->first; tx != NULL; tx = tx->next) {
        post_locked(db, tx, false, &db->last_error);
        tx->answered = true;
    }
    pthread_mutex_unlock(&db->owner.lock);
}

static struct alerts_tx *peek(struct alerts_db *db)
{
    pthread_mutex_lock(&db->owner.lock);
    struct alerts_tx *tx = db->first;
    pthread_mutex_unlock(&db->owner.lock);
    return tx;
}

static void finish_first(struct alerts_db *db, bool ok, const struct err *err)
{
    pthread_mutex_lock(&db->owner.lock);
    struct alerts_tx *tx = db->first;
    db->first = tx->next;
    if (db->first == NULL)
        db->end = &db->first;
    db->stats.queued--;
    if (ok)
        db->stats.commits_total++;
    else
        db->stats.failures_total++;
    post_locked(db, tx, ok, err);
    pthread_mutex_unlock(&db->owner.lock);
    alerts_tx_destroy(&tx);
}

/* Refused for what it holds, not for the state of the disk: it would block all others for ever. */
static bool is_permanent(const struct err *err)
{
    return err->kind == ERR_LIMIT || err->kind == ERR_INTERNAL;
}

static bool write_queue(struct alerts_db *db)
{
    struct alerts_tx *tx;
    struct err err;

    while ((tx = peek(db)) != NULL) {
        uint64_t started = clock_stage_ns();
        if (alerts_file_apply(&db->file, tx, &err)) {
            hist_observe_ns(&db->commit_time, clock_stage_ns() - started);
            db->dirty = true;
            finish_first(db, true, NULL);
        } else if (is_permanent(&err)) {
            log_error("a change of alerts cannot be stored and is lost error=\"%s\"", err.text);
            finish_first(db, false, &err);
        } else {
            set_failed(db, clock_read(), &err);
            return false;
        }
    }
    return true;
}

static void maintain(struct alerts_db *db, struct now now)
{
    struct err err;

    if (!mono_before(now.mono, db->prune_at)) {
        db->prune_at = mono_add(now.mono, PRUNE_MS);
        if (!alerts_file_prune(&db->file, now.wall, &err)) {
            set_failed(db, now, &err);
            return;
        }
    }
    if (!db->dirty || mono_before(now.mono, db->checkpoint_at))
        return;
    db->checkpoint_at = mono_add(now.mono, CHECKPOINT_MS);
    db->dirty = false;
    if (!sql_checkpoint(db->file.db, &err))
        set_failed(db, now, &err);
}

static bool work(struct alerts_db *db, struct now now)
{
    if (!ensure_open(db, now) || !write_queue(db)) {
        answer_waiting(db);
        return false;
    }
    set_recovered(db);
    maintain(db, now);
    return true;
}

/* False when asked to end. */
static bool wait_for_work(struct alerts_db *db, bool healthy)
{
    pthread_mutex_lock(&db->owner.lock);
    if (!db->owner.closing && !db->news)
        owner_wait(&db->owner, healthy ? IDLE_MS : RETRY_MS);
    db->news = false;
    bool closing = db->owner.closing;
    pthread_mutex_unlock(&db->owner.lock);
    return !closing;
}

static void *run(void *arg)
{
    struct alerts_db *db = arg;
    bool healthy;

    do {
        healthy = work(db, clock_read());
    } while (wait_for_work(db, healthy));
    db->retry_at = MONO_UNSET;
    if (ensure_open(db, clock_read()))
        write_queue(db);
    alerts_file_close(&db->file);
    owner_end(&db->owner);
    return NULL;
}

/* ---- life ---- */
/* True when the file is open and *image is what it holds. */
static bool open_and_load(struct alerts_db *db, struct now now, struct alerts_image *image,
                          struct err *err)
{
    if (!alerts_file_open(&db->file, db->path, db->vfs, now.wall, err))
        return false;
    if (alerts_load(&db->file, now, image, err))
        return true;
    alerts_image_free(image);
    alerts_file_close(&db->file);
    return false;
}

struct alerts_db *alerts_db_create(struct loop *loop, const char *path, const char *vfs,
                                   struct alerts_image *image)
{
    struct alerts_db *db = mem_alloc(sizeof(*db));
    struct now now = clock_read();
    struct err err;

    *image = (struct alerts_image){.evaluated_at = WALL_UNSET};
    db->path = mem_strdup(path);
    db->vfs = vfs != NULL ? mem_strdup(vfs) : NULL;
    db->end = &db->first;
    db->answers_end = &db->answers;
    db->wake = loop_wake_create(loop, on_answers, db);
    db->retry_at = db->prune_at = db->checkpoint_at = MONO_UNSET;
    owner_init(&db->owner);
    if (!open_and_load(db, now, image, &err))
        set_failed(db, now, &err);
    image->next_seq = i64_max(image->next_seq, 1);
    owner_start(&db->owner, "pgv-alerts", run, db);
    return db;
}

static void free_queue(struct alerts_db *db)
{
    while (db->first != NULL) {
        struct alerts_tx *next = db->first->next;
        alerts_tx_destroy(&db->first);
        db->first = next;
    }
}

void alerts_db_destroy(struct alerts_db **dbp)
{
    struct alerts_db *db = *dbp;

    if (db == NULL)
        return;
    *dbp = NULL;
    bool ended = owner_stop(&db->owner, STOP_WAIT_MS);
    if (!ended) {
        log_error("alerts: the disk does not answer; what was queued is lost path=%s", db->path);
        pthread_mutex_lock(&db->owner.lock);
    }
    loop_wake_destroy(&db->wake);
    db->wake = NULL;
    if (!ended) {
        pthread_mutex_unlock(&db->owner.lock);
        return; /* the thread still uses db */
    }
    for (struct answer *a = db->answers, *next; a != NULL; a = next) {
        next = a->next;
        mem_free(a);
    }
    free_queue(db);
    mem_free(db->path);
    mem_free(db->vfs);
    mem_free(db);
}

void alerts_db_commit(struct alerts_db *db, struct alerts_tx **txp,
                      void (*done)(bool ok, const struct err *err, void *arg), void *arg)
{
    struct alerts_tx *tx = *txp;
    struct err err;

    *txp = NULL;
    tx->done = done;
    tx->arg = arg;
    pthread_mutex_lock(&db->owner.lock);
    bool refused = tx->may_be_lost && tx->first != NULL && db->stats.queued >= QUEUE_MAX;
    if (refused) {
        err_set(&err, ERR_LIMIT, "more than %d transactions wait for the disk", QUEUE_MAX);
        db->stats.failures_total++;
        post_locked(db, tx, false, &err);
    } else {
        *db->end = tx;
        db->end = &tx->next;
        db->stats.queued++;
        db->news = true;
        pthread_cond_signal(&db->owner.changed);
    }
    pthread_mutex_unlock(&db->owner.lock);
    if (refused)
        alerts_tx_destroy(&tx);
}

void alerts_db_stats(struct alerts_db *db, struct alerts_db_stats *out)
{
    pthread_mutex_lock(&db->owner.lock);
    *out = db->stats;
    pthread_mutex_unlock(&db->owner.lock);
}

const struct hist *alerts_db_commit_time(const struct alerts_db *db)
{
    return &db->commit_time;
}
