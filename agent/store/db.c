/*
 * db.c: opening SQLite files with care.
 *
 * Why so: the files outlive crashes, full disks and newer versions, and Debian 12's SQLite can lose
 * WAL content when two connections checkpoint at once. So every connection starts with automatic
 * checkpoints and the checkpoint on close switched off; only a writer whose schema was accepted
 * gets the latter back. Invariant: until application_id and user_version are known to be ours,
 * nothing here writes to the file. SQLite alone opens the file: closing any other descriptor of it
 * would drop SQLite's POSIX locks, so it is made (mode 0640) only while it does not exist.
 */
#include "pgvigil/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "pgvigil/base/str.h"
#include "sql.h"

#define DB_BUSY_MS   500 /* a shell that holds a lock delays the writer thread only */
#define DB_WAL_BYTES (4 * 1024 * 1024)
#define DB_PATH_MAX  4096

static enum err_kind kind_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOLFS:
    case SQLITE_PROTOCOL:
        return ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
        return ERR_TIMEOUT;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_PERMISSION;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    default:
        return ERR_INTERNAL;
    }
}

bool db_fail(sqlite3 *db, const char *what, struct err *err)
{
    enum err_kind kind = kind_of(sqlite3_extended_errcode(db));
    int sys = kind == ERR_IO ? sqlite3_system_errno(db) : 0;
    char text[128];

    if (sys == 0)
        return err_set(err, kind, "%s: %s", what, sqlite3_errmsg(db));
    return err_set(err, kind, "%s: %s: %s", what, sqlite3_errmsg(db),
                   strerror_r(sys, text, sizeof(text)));
}

bool db_exec(sqlite3 *db, const char *sql, struct err *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    return db_fail(db, "cannot execute", err);
}

sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) == SQLITE_OK)
        return stmt;
    db_fail(db, "cannot prepare", err);
    return NULL;
}

bool db_run(sqlite3_stmt *stmt, struct err *err)
{
    int rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW;

    if (!ok)
        db_fail(sqlite3_db_handle(stmt), "cannot write", err);
    sqlite3_reset(stmt);
    return ok;
}

void db_close(sqlite3 **db)
{
    if (*db == NULL)
        return;
    sqlite3_close_v2(*db);
    *db = NULL;
}

/* A network file system has no shared memory for the WAL index and often no working locks. */
static bool is_on_network(const char *path)
{
    static const unsigned long network[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, 0xFF534D42UL,
                                            0xFE534D42UL /* cifs, smb2 */};
    char dir[DB_PATH_MAX];
    struct statfs fs;

    if (!str_copy(dir, sizeof(dir), path))
        return false;
    char *slash = strrchr(dir, '/');
    if (slash == NULL)
        str_copy(dir, sizeof(dir), ".");
    else
        slash[slash == dir ? 1 : 0] = '\0';
    if (statfs(dir, &fs) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(network); i++) {
        if ((unsigned long)fs.f_type == network[i])
            return true;
    }
    return false;
}

/* SQLite would make it 0644; the -wal and -shm files copy the mode of the main file. */
static bool make_file(const char *path, struct err *err)
{
    char text[128];
    int fd;

    if (access(path, F_OK) == 0)
        return true;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0 && errno != EEXIST) {
        return err_set(err, errno == EACCES ? ERR_PERMISSION : ERR_IO, "cannot create \"%s\": %s",
                       path, strerror_r(errno, text, sizeof(text)));
    }
    if (fd >= 0)
        close(fd);
    return true;
}

static void make_safe(sqlite3 *db)
{
    static const struct {
        int option, on;
    } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 0},    {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        sqlite3_db_config(db, settings[i].option, settings[i].on, (int *)NULL);
    sqlite3_busy_timeout(db, DB_BUSY_MS);
}

static sqlite3 *open_raw(const struct db_spec *spec, int flags, struct err *err)
{
    sqlite3 *db = NULL;
    char pragmas[160];

    snprintf(pragmas, sizeof(pragmas),
             "PRAGMA wal_autocheckpoint=0; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;"
             "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-%d",
             spec->cache_kib);
    flags |= SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(spec->path, &db, flags, spec->vfs) != SQLITE_OK) {
        if (db == NULL)
            err_set(err, ERR_INTERNAL, "cannot open: no memory");
        else
            db_fail(db, "cannot open", err);
        db_close(&db);
        return NULL;
    }
    make_safe(db);
    if (!db_exec(db, pragmas, err))
        db_close(&db);
    return db;
}

/* Reads whose file it is; *version is 0 for an empty one. Writes nothing. */
static bool check_identity(sqlite3 *db, const struct db_spec *spec, int64_t *version,
                           struct err *err)
{
    int64_t id, objects;

    if (!sql_int(db, "PRAGMA application_id", 0, &id, err) ||
        !sql_int(db, "PRAGMA user_version", 0, version, err) ||
        !sql_int(db, "SELECT count(*) FROM sqlite_schema", 0, &objects, err))
        return false;
    if (id == 0 && *version == 0 && objects == 0)
        return true;
    if ((uint32_t)id != spec->application_id || *version <= 0)
        return err_set(err, ERR_INVALID, "it is not a file of this kind");
    if (*version > spec->user_version) {
        return err_set(err, ERR_NEWER, "its schema version %lld is newer than this program's %d",
                       (long long)*version, spec->user_version);
    }
    return true;
}

static bool set_journal(sqlite3 *db, const struct db_spec *spec, bool is_new, struct err *err)
{
    char sql[160];

    /* Only an empty file can get auto_vacuum, and only then can it give pages back later. */
    if (is_new && !db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", err))
        return false;
    sqlite3_stmt *stmt = db_prepare(db, "PRAGMA journal_mode=WAL", err);
    if (stmt == NULL)
        return false;
    bool stepped = sqlite3_step(stmt) == SQLITE_ROW;
    bool wal = stepped && str_eq(sql_text(stmt, 0), "wal");
    if (!stepped)
        db_fail(db, "cannot switch to WAL", err);
    else if (!wal)
        err_set(err, ERR_IO, "the file system does not support WAL");
    sqlite3_finalize(stmt);
    if (!wal)
        return false;
    snprintf(sql, sizeof(sql), "PRAGMA synchronous=%s; PRAGMA journal_size_limit=%d",
             spec->sync == DB_SYNC_FULL ? "FULL" : "NORMAL", DB_WAL_BYTES);
    return db_exec(db, sql, err);
}

static bool run_migrations(sqlite3 *db, const struct db_spec *spec, int64_t from, struct err *err)
{
    char sql[160];

    for (int64_t v = from; v < spec->user_version; v++) {
        if (!db_exec(db, spec->migrations[v], err))
            return err_wrap(err, "migration from version %lld", (long long)v);
    }
    snprintf(sql, sizeof(sql), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             (int)spec->application_id, spec->user_version);
    return db_exec(db, sql, err);
}

static bool migrate(sqlite3 *db, const struct db_spec *spec, int64_t from, struct err *err)
{
    if (from == spec->user_version)
        return true;
    if (!db_exec(db, "BEGIN IMMEDIATE", err))
        return false;
    if (run_migrations(db, spec, from, err))
        return true;
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

sqlite3 *db_open_write(const struct db_spec *spec, struct err *err)
{
    sqlite3 *db = NULL;
    int64_t version;

    if (is_on_network(spec->path)) {
        err_set(err, ERR_INVALID, "\"%s\" is on a network file system, which SQLite cannot lock",
                spec->path);
        return NULL;
    }
    if (!make_file(spec->path, err))
        return NULL;
    db = open_raw(spec, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (db == NULL || !check_identity(db, spec, &version, err) ||
        !set_journal(db, spec, version == 0, err) || !migrate(db, spec, version, err)) {
        err_wrap(err, "\"%s\"", spec->path);
        db_close(&db);
        return NULL;
    }
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, (int *)NULL);
    return db;
}

sqlite3 *db_open_read(const struct db_spec *spec, struct err *err)
{
    sqlite3 *db;
    int64_t version;

    if (access(spec->path, F_OK) != 0) {
        err_set(err, ERR_NOT_FOUND, "there is no file \"%s\"", spec->path);
        return NULL;
    }
    db = open_raw(spec, SQLITE_OPEN_READONLY, err);
    if (db == NULL || !check_identity(db, spec, &version, err)) {
        err_wrap(err, "\"%s\"", spec->path);
        db_close(&db);
        return NULL;
    }
    if (version < spec->user_version) {
        err_set(err, ERR_INVALID, "\"%s\": its schema version %lld is old: start the daemon once",
                spec->path, (long long)version);
        db_close(&db);
    }
    return db;
}

bool db_wal_reset_affected(void)
{
    int v = sqlite3_libversion_number();

    /* Fixed in 3.51.3, and in the branches 3.44.6 and 3.50.7 (sqlite.org/wal.html#walresetbug). */
    if (v < 3007000 || v >= 3051003)
        return false;
    if (v / 1000 == 3044)
        return v < 3044006;
    if (v / 1000 == 3050)
        return v < 3050007;
    return true;
}
