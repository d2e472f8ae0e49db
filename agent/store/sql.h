/*
 * sql.h: what alerts.db and history.db share below db.h: tables of kept statements, setting a
 * damaged file aside, and the thread that owns a file.
 */
#ifndef STORE_SQL_H
#define STORE_SQL_H

#include <pthread.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/store/db.h"

/* Names in the file's header, so that `file` and we tell them from other SQLite files. */
#define HISTORY_APPLICATION_ID UINT32_C(0x50475648) /* "PGVH" */
#define ALERTS_APPLICATION_ID  UINT32_C(0x50475641) /* "PGVA" */

/* Prepares all of sql[] for a long life into out[]; on error none is left. */
bool sql_prepare_all(sqlite3 *db, const char *const *sql, sqlite3_stmt **out, size_t n,
                     struct err *err) MUST_CHECK;
void sql_finalize_all(sqlite3_stmt **stmts, size_t n);
/* Runs one query for one integer; missing row or NULL gives fallback. */
bool sql_int(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out,
             struct err *err) MUST_CHECK;
/* The same with a kept statement whose parameters are bound; resets it. */
bool sql_step_int(sqlite3_stmt *stmt, int64_t fallback, int64_t *out, struct err *err) MUST_CHECK;
void sql_bind_text(sqlite3_stmt *stmt, int i, const char *s); /* borrowed until reset */
/* Column as text, "" for NULL; borrowed until the next step. */
const char *sql_text(sqlite3_stmt *stmt, int i);
/* Moves WAL content into the file; readers in the way are no error. Only the file's own thread. */
bool sql_checkpoint(sqlite3 *db, struct err *err) MUST_CHECK;

/*
 * Renames path, path-wal and path-shm to *.corrupt-<UTC time>; the file must be closed. The new
 * name of the main file goes to moved. */
bool sql_set_aside(const char *path, wall_ms now, char *moved, size_t n,
                   struct err *err) MUST_CHECK;

/* ---- the thread that owns a file ---- */
struct owner {
    pthread_t id;
    pthread_mutex_t lock; /* also guards what the owner shares with others */
    pthread_cond_t changed;
    bool closing, ended;
};

void owner_init(struct owner *o);
/* Starts fn(arg) with all signals blocked; fn calls owner_end() last. */
void owner_start(struct owner *o, const char *name, void *(*fn)(void *), void *arg);
/* Waits with the lock held until wake-up or timeout; real time, not the fakeable clock. */
void owner_wait(struct owner *o, int64_t timeout_ms);
void owner_end(struct owner *o);
/*
 * Asks the thread to end and waits. False: it hangs in a call (a stalled disk) and was left behind
 * detached; what it uses must then stay allocated.
 */
bool owner_stop(struct owner *o, int64_t timeout_ms) MUST_CHECK;

#endif
