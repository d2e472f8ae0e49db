/*
 * db.h: SQLite opened safely: the shared ground of alerts.db and history.db.
 *
 * One thread owns each file for writing and checkpointing; all other connections are read-only with
 * no checkpoint on close (SQLite 3.7.0-3.51.2 can corrupt a WAL file otherwise; Debian 12 has
 * 3.40.1). `vfs` is the disk seam: tests give a VFS that fails, delays or forgets writes.
 */
#ifndef PGVIGIL_STORE_DB_H
#define PGVIGIL_STORE_DB_H

#include <sqlite3.h>

#include "pgvigil/base/err.h"

enum db_sync { DB_SYNC_NORMAL, DB_SYNC_FULL };

struct db_spec {
    const char *path;
    const char *vfs; /* NULL = default */
    uint32_t application_id;
    int user_version; /* schema version of this binary */
    /* migrations[v] brings version v to v+1 (SQL, run in one transaction); user_version of them */
    const char *const *migrations;
    enum db_sync sync;
    int cache_kib;
};

/* Opens for writing, makes or migrates the schema. ERR_NEWER leaves a newer file untouched. */
sqlite3 *db_open_write(const struct db_spec *spec, struct err *err) MUST_CHECK;
/* Read-only, auto-checkpoint off. ERR_NOT_FOUND when there is no file. */
sqlite3 *db_open_read(const struct db_spec *spec, struct err *err) MUST_CHECK;
void db_close(sqlite3 **db);
bool db_exec(sqlite3 *db, const char *sql, struct err *err) MUST_CHECK;
sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, struct err *err) MUST_CHECK;
/* Steps a statement that returns no rows, then resets it. */
bool db_run(sqlite3_stmt *stmt, struct err *err) MUST_CHECK;
/* Fills err from the connection's last error (kind by result code) and returns false. */
bool db_fail(sqlite3 *db, const char *what, struct err *err);
/* Is the linked SQLite in the range of the WAL-reset fault? For --version and doctor. */
bool db_wal_reset_affected(void);

#endif
