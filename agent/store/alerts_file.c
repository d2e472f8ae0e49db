/*
 * alerts_file.c: the schema of alerts.db and the writing of one transaction.
 *
 * Why so: the file is tiny and every commit is synced, so it is checked whole when it is opened,
 * and a damaged one is replaced by a copy of what can be read. Times are unix milliseconds, states
 * and roles words, label sets JSON objects: the sqlite3 shell shows all of it. Invariant: a
 * transaction is applied whole or not at all.
 */
#include "alerts_parts.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"

#define CACHE_KIB         256
#define LABELS_JSON_MAX   (512 * 1024)
#define RESOLVED_KEEP_MS  OUTBOX_KEEP_MS
#define FLIPS_KEEP_MS     INT64_C(7776000000) /* 90 d */
#define TIMELINE_KEEP_MS  INT64_C(93600000)   /* 26 h */
#define TIMELINE_DENSE_MS INT64_C(7200000)    /* 2 h at full density, then one per 10 s */

static const char *const migrations[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;"
    "CREATE TABLE alerts("
    " fingerprint TEXT PRIMARY KEY,"
    " state TEXT NOT NULL,"
    " labels TEXT NOT NULL,"
    " annotations TEXT NOT NULL,"
    " value REAL,"
    " active_at INTEGER, fired_at INTEGER, resolved_at INTEGER, keep_until INTEGER,"
    " held INTEGER NOT NULL,"
    " rule_group TEXT NOT NULL, rule TEXT NOT NULL, expr TEXT NOT NULL, reason TEXT NOT NULL"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE outbox("
    " id TEXT PRIMARY KEY,"
    " receiver TEXT NOT NULL,"
    " group_key TEXT NOT NULL,"
    " seq INTEGER NOT NULL,"
    " body TEXT NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " next_attempt_at INTEGER,"
    " attempts INTEGER NOT NULL,"
    " last_error TEXT NOT NULL,"
    " delivered_at INTEGER"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE gate_nodes("
    " cluster TEXT NOT NULL, node TEXT NOT NULL,"
    " role TEXT NOT NULL, state TEXT NOT NULL,"
    " read INTEGER NOT NULL, write INTEGER NOT NULL, weight INTEGER NOT NULL,"
    " reason TEXT NOT NULL,"
    " since INTEGER, lease_until INTEGER, hold_ms INTEGER NOT NULL,"
    " last_return INTEGER, saved_at INTEGER,"
    " PRIMARY KEY(cluster, node)"
    ") WITHOUT ROWID, STRICT;"
    /* t_* are milliseconds of the boot with that number; at is the wall clock of t_after */
    "CREATE TABLE gate_timeline("
    " system_id INTEGER NOT NULL, timeline INTEGER NOT NULL, boot INTEGER NOT NULL,"
    " t_after INTEGER NOT NULL, t_before INTEGER NOT NULL,"
    " at INTEGER NOT NULL,"
    " write_lsn INTEGER NOT NULL, insert_lsn INTEGER NOT NULL,"
    " snap0 INTEGER NOT NULL, snap1 INTEGER NOT NULL,"
    " PRIMARY KEY(system_id, timeline, boot, t_after)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE gate_flips("
    " id INTEGER PRIMARY KEY,"
    " at INTEGER NOT NULL,"
    " cluster TEXT NOT NULL, node TEXT NOT NULL, what TEXT NOT NULL,"
    " was TEXT NOT NULL, became TEXT NOT NULL, reason TEXT NOT NULL,"
    " lo_ms INTEGER NOT NULL, hi_ms INTEGER NOT NULL,"
    " replay_lsn INTEGER NOT NULL, primary_lsn INTEGER NOT NULL,"
    " evidence TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX gate_flips_at ON gate_flips(at);",
};

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_PUT_ALERT] = "INSERT OR REPLACE INTO alerts"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [SQL_DROP_ALERT] = "DELETE FROM alerts WHERE fingerprint = ?1",
    [SQL_PUT_OUTBOX] = "INSERT OR REPLACE INTO outbox VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
                       " NULL)",
    [SQL_ATTEMPT] = "UPDATE outbox SET attempts = ?2, next_attempt_at = ?3, last_error = ?4"
                    " WHERE id = ?1",
    [SQL_DONE] = "UPDATE outbox SET delivered_at = ?2, last_error = '' WHERE id = ?1",
    [SQL_PUT_NODE] = "INSERT OR REPLACE INTO gate_nodes"
                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [SQL_PUT_FLIP] = "INSERT INTO gate_flips(at, cluster, node, what, was, became, reason, lo_ms,"
                     " hi_ms, replay_lsn, primary_lsn, evidence)"
                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [SQL_PUT_TIMELINE] = "INSERT OR REPLACE INTO gate_timeline"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [SQL_PUT_EVALUATED] = "INSERT OR REPLACE INTO meta VALUES('evaluated_at', CAST(?1 AS TEXT))",
    [SQL_PRUNE_ALERTS] = "DELETE FROM alerts WHERE state NOT IN ('pending', 'firing')"
                         " AND resolved_at < ?1",
    /* The newest row stays, so that seq goes on growing over a restart. */
    [SQL_PRUNE_OUTBOX] = "DELETE FROM outbox WHERE delivered_at < ?1"
                         " AND seq < (SELECT max(seq) FROM outbox)",
    [SQL_PRUNE_FLIPS] = "DELETE FROM gate_flips WHERE at < ?1",
    [SQL_PRUNE_TIMELINE] = "DELETE FROM gate_timeline WHERE at < ?1",
    [SQL_THIN_TIMELINE] =
        "DELETE FROM gate_timeline WHERE at < ?1 AND (system_id, timeline, boot, t_after) NOT IN"
        " (SELECT system_id, timeline, boot, min(t_after) FROM gate_timeline WHERE at < ?1"
        "  GROUP BY system_id, timeline, boot, t_after / 10000)",
};

struct db_spec alerts_spec(const char *path, const char *vfs)
{
    return (struct db_spec){
        .path = path,
        .vfs = vfs,
        .application_id = ALERTS_APPLICATION_ID,
        .user_version = ARRAY_LEN(migrations),
        .migrations = migrations,
        .sync = DB_SYNC_FULL,
        .cache_kib = CACHE_KIB,
    };
}

/* ---- opening ---- */
static bool quick_check(sqlite3 *db, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "PRAGMA quick_check(1)", err);

    if (stmt == NULL)
        return false;
    bool ok = sqlite3_step(stmt) == SQLITE_ROW;
    if (!ok)
        db_fail(db, "cannot check", err);
    else if (!str_eq(sql_text(stmt, 0), "ok"))
        ok = err_set(err, ERR_CORRUPT, "%s", sql_text(stmt, 0));
    sqlite3_finalize(stmt);
    return ok;
}

static sqlite3 *open_checked(const struct db_spec *spec, struct err *err)
{
    sqlite3 *db = db_open_write(spec, err);

    if (db != NULL && !quick_check(db, err))
        db_close(&db);
    return db;
}

static sqlite3 *replace_damaged(const struct db_spec *spec, wall_ms now, struct err *err)
{
    char moved[512];
    struct err damage = *err;

    if (!sql_set_aside(spec->path, now, moved, sizeof(moved), err))
        return NULL;
    sqlite3 *db = open_checked(spec, err);
    if (db == NULL)
        return NULL;
    size_t rows = alerts_salvage(db, moved, spec->vfs);
    log_error("alerts file is damaged and was set aside path=%s moved=%s salvaged_rows=%zu "
              "error=\"%s\"",
              spec->path, moved, rows, damage.text);
    return db;
}

static bool read_boot_id(char *out, size_t n)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool ok = f != NULL && fgets(out, (int)n, f) != NULL;

    if (f != NULL)
        fclose(f);
    if (ok)
        out[strcspn(out, "\n")] = '\0';
    return ok;
}

/* A new number for each boot that the file sees; an unknown boot is a new one. */
static bool note_boot(struct alerts_file *f, struct err *err)
{
    char id[64] = "", sql[256];
    int64_t same;

    if (!read_boot_id(id, sizeof(id)) || strspn(id, "0123456789abcdef-") != strlen(id))
        str_copy(id, sizeof(id), "unknown");
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM meta WHERE key = 'boot_id' AND value = '%s' AND value != "
             "'unknown'",
             id);
    if (!sql_int(f->db, sql, 0, &same, err) ||
        !sql_int(f->db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'boot'", 0, &f->boot,
                 err))
        return false;
    f->same_boot = same != 0;
    if (f->same_boot)
        return true;
    f->boot++;
    snprintf(sql, sizeof(sql),
             "INSERT OR REPLACE INTO meta VALUES('boot_id', '%s'), ('boot', '%lld')", id,
             (long long)f->boot);
    return db_exec(f->db, sql, err);
}

bool alerts_file_open(struct alerts_file *f, const char *path, const char *vfs, wall_ms now,
                      struct err *err)
{
    struct db_spec spec = alerts_spec(path, vfs);

    *f = (struct alerts_file){.db = open_checked(&spec, err)};
    if (f->db == NULL && err->kind == ERR_CORRUPT)
        f->db = replace_damaged(&spec, now, err);
    if (f->db == NULL)
        return false;
    if (sql_prepare_all(f->db, statements, f->stmt, SQL_COUNT, err) && note_boot(f, err))
        return true;
    alerts_file_close(f);
    return false;
}

void alerts_file_close(struct alerts_file *f)
{
    sql_finalize_all(f->stmt, SQL_COUNT);
    db_close(&f->db);
}

/* ---- one transaction ---- */
static void bind_wall(sqlite3_stmt *stmt, int i, wall_ms t)
{
    if (wall_is_set(t))
        sqlite3_bind_int64(stmt, i, t.ms);
    else
        sqlite3_bind_null(stmt, i);
}

static void bind_labels(sqlite3_stmt *stmt, int i, const struct labels *ls)
{
    struct buf json;

    buf_init(&json, LABELS_JSON_MAX);
    buf_add_char(&json, '{');
    for (size_t k = 0; k < ls->n; k++) {
        buf_add_str(&json, k == 0 ? "" : ",");
        buf_add_json(&json, ls->v[k].name);
        buf_add_char(&json, ':');
        buf_add_json(&json, ls->v[k].value);
    }
    buf_add_char(&json, '}');
    sqlite3_bind_text(stmt, i, buf_ok(&json) ? json.data : "{}", -1, SQLITE_TRANSIENT);
    buf_deinit(&json);
}

static bool put_alert(struct alerts_file *f, const struct alert *a, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_PUT_ALERT];
    char fingerprint[17];

    snprintf(fingerprint, sizeof(fingerprint), "%016llx", (unsigned long long)a->fingerprint);
    sql_bind_text(s, 1, fingerprint);
    sql_bind_text(s, 2, alert_state_name(a->state));
    bind_labels(s, 3, &a->labels);
    bind_labels(s, 4, &a->annotations);
    sqlite3_bind_double(s, 5, a->value);
    bind_wall(s, 6, a->active_at);
    bind_wall(s, 7, a->fired_at);
    bind_wall(s, 8, a->resolved_at);
    bind_wall(s, 9, a->keep_until);
    sqlite3_bind_int(s, 10, a->held);
    sql_bind_text(s, 11, a->group != NULL ? a->group : "");
    sql_bind_text(s, 12, a->rule != NULL ? a->rule : "");
    sql_bind_text(s, 13, a->expr != NULL ? a->expr : "");
    sql_bind_text(s, 14, a->reason != NULL ? a->reason : "");
    bool ok = db_run(s, err);
    sqlite3_clear_bindings(s);
    return ok;
}

static bool drop_alert(struct alerts_file *f, uint64_t fingerprint, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_DROP_ALERT];
    char text[17];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)fingerprint);
    sql_bind_text(s, 1, text);
    bool ok = db_run(s, err);
    sqlite3_clear_bindings(s);
    return ok;
}

static bool put_outbox(struct alerts_file *f, const struct outbox_row *r, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_PUT_OUTBOX];

    sql_bind_text(s, 1, r->id);
    sql_bind_text(s, 2, r->receiver);
    sql_bind_text(s, 3, r->group_key);
    sqlite3_bind_int64(s, 4, r->seq);
    sql_bind_text(s, 5, r->body);
    sqlite3_bind_int64(s, 6, r->created_at.ms);
    bind_wall(s, 7, r->next_attempt_at);
    sqlite3_bind_int(s, 8, r->attempts);
    sql_bind_text(s, 9, r->last_error);
    return db_run(s, err);
}

static bool put_attempt(struct alerts_file *f, const struct outbox_row *r, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_ATTEMPT];

    sql_bind_text(s, 1, r->id);
    sqlite3_bind_int(s, 2, r->attempts);
    bind_wall(s, 3, r->next_attempt_at);
    sql_bind_text(s, 4, r->last_error);
    return db_run(s, err);
}

static bool put_done(struct alerts_file *f, const struct outbox_row *r, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_DONE];

    sql_bind_text(s, 1, r->id);
    sqlite3_bind_int64(s, 2, r->created_at.ms);
    return db_run(s, err);
}

static bool put_node(struct alerts_file *f, const struct gate_node_state *n, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_PUT_NODE];

    sql_bind_text(s, 1, n->cluster);
    sql_bind_text(s, 2, n->node);
    sql_bind_text(s, 3, node_role_name(n->role));
    sql_bind_text(s, 4, fresh_state_name(n->state));
    sqlite3_bind_int(s, 5, n->read);
    sqlite3_bind_int(s, 6, n->write);
    sqlite3_bind_int(s, 7, n->weight);
    sql_bind_text(s, 8, n->reason);
    bind_wall(s, 9, n->since);
    bind_wall(s, 10, n->lease_until);
    sqlite3_bind_int64(s, 11, n->hold_ms);
    bind_wall(s, 12, n->last_return);
    bind_wall(s, 13, n->saved_at);
    return db_run(s, err);
}

static bool put_flip(struct alerts_file *f, const struct gate_flip *flip, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_PUT_FLIP];

    sqlite3_bind_int64(s, 1, flip->at.ms);
    sql_bind_text(s, 2, flip->cluster);
    sql_bind_text(s, 3, flip->node);
    sql_bind_text(s, 4, flip->what);
    sql_bind_text(s, 5, flip->from);
    sql_bind_text(s, 6, flip->to);
    sql_bind_text(s, 7, flip->reason);
    sqlite3_bind_int64(s, 8, flip->lo_ms);
    sqlite3_bind_int64(s, 9, flip->hi_ms);
    sqlite3_bind_int64(s, 10, (int64_t)flip->replay);
    sqlite3_bind_int64(s, 11, (int64_t)flip->primary);
    sql_bind_text(s, 12, flip->evidence);
    return db_run(s, err);
}

static bool put_timeline(struct alerts_file *f, const struct change *c, struct err *err)
{
    sqlite3_stmt *s = f->stmt[SQL_PUT_TIMELINE];
    const struct timeline_entry *e = &c->u.timeline.entry;

    sqlite3_bind_int64(s, 1, (int64_t)c->u.timeline.system_id);
    sqlite3_bind_int64(s, 2, c->u.timeline.timeline);
    sqlite3_bind_int64(s, 3, f->boot);
    sqlite3_bind_int64(s, 4, e->t_after.ms);
    sqlite3_bind_int64(s, 5, e->t_before.ms);
    sqlite3_bind_int64(s, 6, c->u.timeline.at.ms);
    sqlite3_bind_int64(s, 7, (int64_t)e->write);
    sqlite3_bind_int64(s, 8, (int64_t)e->insert);
    sqlite3_bind_int64(s, 9, (int64_t)e->snap[0]);
    sqlite3_bind_int64(s, 10, (int64_t)e->snap[1]);
    return db_run(s, err);
}

static bool put_evaluated(struct alerts_file *f, wall_ms at, struct err *err)
{
    sqlite3_bind_int64(f->stmt[SQL_PUT_EVALUATED], 1, at.ms);
    return db_run(f->stmt[SQL_PUT_EVALUATED], err);
}

static bool apply_change(struct alerts_file *f, const struct change *c, struct err *err)
{
    switch (c->kind) {
    case CHANGE_PUT_ALERT:
        return put_alert(f, c->u.alert, err);
    case CHANGE_DROP_ALERT:
        return drop_alert(f, c->u.fingerprint, err);
    case CHANGE_PUT_OUTBOX:
        return put_outbox(f, &c->u.outbox, err);
    case CHANGE_ATTEMPT:
        return put_attempt(f, &c->u.outbox, err);
    case CHANGE_DONE:
        return put_done(f, &c->u.outbox, err);
    case CHANGE_NODE:
        return put_node(f, &c->u.node, err);
    case CHANGE_FLIP:
        return put_flip(f, &c->u.flip, err);
    case CHANGE_TIMELINE:
        return put_timeline(f, c, err);
    case CHANGE_EVALUATED:
        return put_evaluated(f, c->u.evaluated_at, err);
    }
    return err_set(err, ERR_INTERNAL, "unknown change %d", (int)c->kind);
}

static bool end(struct alerts_file *f, bool ok, struct err *err)
{
    if (ok && db_run(f->stmt[SQL_COMMIT], err))
        return true;
    if (sqlite3_get_autocommit(f->db) == 0)
        sqlite3_exec(f->db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

bool alerts_file_apply(struct alerts_file *f, const struct alerts_tx *tx, struct err *err)
{
    bool ok = true;

    if (tx->first == NULL)
        return true;
    if (!db_run(f->stmt[SQL_BEGIN], err))
        return false;
    for (const struct change *c = tx->first; ok && c != NULL; c = c->next)
        ok = apply_change(f, c, err);
    return end(f, ok, err);
}

bool alerts_file_prune(struct alerts_file *f, wall_ms now, struct err *err)
{
    static const struct {
        enum alerts_statement statement;
        int64_t keep_ms;
    } rows[] = {
        {SQL_PRUNE_ALERTS, RESOLVED_KEEP_MS},   {SQL_PRUNE_OUTBOX, OUTBOX_KEEP_MS},
        {SQL_PRUNE_FLIPS, FLIPS_KEEP_MS},       {SQL_PRUNE_TIMELINE, TIMELINE_KEEP_MS},
        {SQL_THIN_TIMELINE, TIMELINE_DENSE_MS},
    };
    bool ok = true;

    if (!db_run(f->stmt[SQL_BEGIN], err))
        return false;
    for (size_t i = 0; ok && i < ARRAY_LEN(rows); i++) {
        sqlite3_bind_int64(f->stmt[rows[i].statement], 1, now.ms - rows[i].keep_ms);
        ok = db_run(f->stmt[rows[i].statement], err);
    }
    return end(f, ok, err);
}
