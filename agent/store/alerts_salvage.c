/*
 * alerts_salvage.c: what can still be read of a damaged alerts.db.
 *
 * Why so: a damaged page usually leaves the others readable, and an undelivered page is worth some
 * trouble. Each table is read from both ends until the damage; the new file's types and keys refuse
 * what is no row. Invariant: never fails: less is copied.
 */
#include "alerts_parts.h"
#include "pgvigil/base/log.h"

static const struct {
    const char *table, *forward, *backward;
} tables[] = {
    {"meta", "key", "key DESC"},
    {"outbox", "id", "id DESC"},
    {"alerts", "fingerprint", "fingerprint DESC"},
    {"gate_nodes", "cluster, node", "cluster DESC, node DESC"},
    {"gate_flips", "id", "id DESC"},
    {"gate_timeline", "system_id, timeline, boot, t_after",
     "system_id DESC, timeline DESC, boot DESC, t_after DESC"},
};

static sqlite3_stmt *prepare_insert(sqlite3 *db, const char *table, int columns)
{
    char sql[256];
    struct err err;
    int n = snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO %s VALUES(?", table);

    for (int i = 1; i < columns && (size_t)n < sizeof(sql); i++)
        n += snprintf(sql + n, sizeof(sql) - (size_t)n, ", ?");
    if ((size_t)n + 2 > sizeof(sql))
        return NULL;
    snprintf(sql + n, sizeof(sql) - (size_t)n, ")");
    return db_prepare(db, sql, &err);
}

static size_t copy_rows(sqlite3 *db, sqlite3_stmt *from, const char *table)
{
    int columns = sqlite3_column_count(from);
    sqlite3_stmt *to = prepare_insert(db, table, columns);
    size_t rows = 0;

    while (to != NULL && sqlite3_step(from) == SQLITE_ROW) {
        for (int i = 0; i < columns; i++)
            sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
        if (sqlite3_step(to) == SQLITE_DONE)
            rows += (size_t)sqlite3_changes(db);
        sqlite3_reset(to);
    }
    sqlite3_finalize(to);
    return rows;
}

static size_t copy_table(sqlite3 *db, sqlite3 *damaged, const char *table, const char *order)
{
    char sql[256];
    struct err err;

    snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY %s", table, order);
    sqlite3_stmt *from = db_prepare(damaged, sql, &err);
    if (from == NULL)
        return 0;
    size_t rows = copy_rows(db, from, table);
    sqlite3_finalize(from);
    return rows;
}

size_t alerts_salvage(sqlite3 *db, const char *path, const char *vfs)
{
    struct db_spec spec = alerts_spec(path, vfs);
    struct err err;
    sqlite3 *damaged = db_open_read(&spec, &err);
    size_t rows = 0;

    if (damaged == NULL)
        return 0;
    if (db_exec(db, "BEGIN IMMEDIATE", &err)) {
        for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
            rows += copy_table(db, damaged, tables[i].table, tables[i].forward);
            rows += copy_table(db, damaged, tables[i].table, tables[i].backward);
        }
        if (!db_exec(db, "COMMIT", &err)) {
            log_warn("salvaged rows cannot be written error=\"%s\"", err.text);
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
            rows = 0;
        }
    }
    db_close(&damaged);
    return rows;
}
