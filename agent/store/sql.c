/*
 * sql.c: kept statements, setting aside, and the owning thread of a store file.
 *
 * Why so: both stores prepare once and bind for ever, and both must survive a disk that hangs. The
 * owner's stop is therefore a wait with a deadline, not a join: a thread stuck in fsync is left
 * behind with its memory, because the process is about to end anyway.
 */
#include "sql.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "pgvigil/base/log.h"

bool sql_prepare_all(sqlite3 *db, const char *const *sql, sqlite3_stmt **out, size_t n,
                     struct err *err)
{
    for (size_t i = 0; i < n; i++)
        out[i] = NULL;
    for (size_t i = 0; i < n; i++) {
        out[i] = db_prepare(db, sql[i], err);
        if (out[i] == NULL) {
            sql_finalize_all(out, n);
            return false;
        }
    }
    return true;
}

void sql_finalize_all(sqlite3_stmt **stmts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_finalize(stmts[i]);
        stmts[i] = NULL;
    }
}

bool sql_step_int(sqlite3_stmt *stmt, int64_t fallback, int64_t *out, struct err *err)
{
    int rc = sqlite3_step(stmt);

    *out = fallback;
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        *out = sqlite3_column_int64(stmt, 0);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        db_fail(sqlite3_db_handle(stmt), "cannot read", err);
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

bool sql_int(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, sql, err);

    *out = fallback;
    if (stmt == NULL)
        return false;
    bool ok = sql_step_int(stmt, fallback, out, err);
    sqlite3_finalize(stmt);
    return ok;
}

void sql_bind_text(sqlite3_stmt *stmt, int i, const char *s)
{
    if (s == NULL)
        sqlite3_bind_null(stmt, i);
    else
        sqlite3_bind_text(stmt, i, s, -1, SQLITE_STATIC);
}

const char *sql_text(sqlite3_stmt *stmt, int i)
{
    const unsigned char *s = sqlite3_column_text(stmt, i);

    return s == NULL ? "" : (const char *)s;
}

bool sql_checkpoint(sqlite3 *db, struct err *err)
{
    int rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
        return true;
    return db_fail(db, "cannot checkpoint", err);
}

bool sql_set_aside(const char *path, wall_ms now, char *moved, size_t n, struct err *err)
{
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    struct utc_time u = clock_utc(now.ms / 1000);
    char from[4096], to[4096], text[128];

    /* The main file last: as long as it stands, a kill in between repeats the whole. */
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
        snprintf(to, sizeof(to), "%s.corrupt-%04lld%02d%02dT%02d%02d%02dZ%s", path,
                 (long long)u.year, u.month, u.day, u.hour, u.minute, u.second, suffixes[i]);
        if (rename(from, to) != 0 && errno != ENOENT) {
            return err_set(err, ERR_IO, "cannot rename \"%s\": %s", from,
                           strerror_r(errno, text, sizeof(text)));
        }
    }
    snprintf(moved, n, "%s", to);
    return true;
}

void owner_init(struct owner *o)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&o->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void owner_start(struct owner *o, const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&o->id, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        /* The same case as no memory: nothing useful can run; the service manager restarts us. */
        log_error("cannot start a thread name=%s errno=%d", name, rc);
        abort();
    }
    pthread_setname_np(o->id, name);
}

static struct timespec deadline_after(int64_t ms)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += (ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

void owner_wait(struct owner *o, int64_t timeout_ms)
{
    struct timespec ts = deadline_after(timeout_ms);

    pthread_cond_timedwait(&o->changed, &o->lock, &ts);
}

void owner_end(struct owner *o)
{
    pthread_mutex_lock(&o->lock);
    o->ended = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

bool owner_stop(struct owner *o, int64_t timeout_ms)
{
    struct timespec ts = deadline_after(timeout_ms);

    pthread_mutex_lock(&o->lock);
    o->closing = true;
    pthread_cond_broadcast(&o->changed);
    while (!o->ended && pthread_cond_timedwait(&o->changed, &o->lock, &ts) != ETIMEDOUT)
        ;
    bool ended = o->ended;
    pthread_mutex_unlock(&o->lock);
    if (!ended) {
        pthread_detach(o->id);
        return false;
    }
    pthread_join(o->id, NULL);
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->changed);
    return true;
}
