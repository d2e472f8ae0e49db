/*
 * Columns are read by name because every PgBouncer release adds some; an absent one counts as 0.
 * Utilisation is busy over the effective limit, not open over configured: idle server connections
 * are room, and a limit of 0 means unlimited and gives no value. The admin pseudo-database is left
 * out.
 */
#include "pool_rows.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

void pool_rows_deinit(struct pool_rows *r)
{
    mem_free(r->rows);
    mem_free(r->databases);
    *r = (struct pool_rows){0};
}

static const char *text_at(const PGresult *result, int row, const char *column)
{
    int col = PQfnumber(result, column);
    return col < 0 ? "" : PQgetvalue(result, row, col);
}

static int64_t int_at(const PGresult *result, int row, const char *column)
{
    int64_t v = 0;
    return str_parse_i64(text_at(result, row, column), INT64_MIN, INT64_MAX, &v) ? v : 0;
}

static int64_t sum_at(const PGresult *result, int row, const char *const *columns)
{
    int64_t sum = 0;
    for (; *columns != NULL; columns++)
        sum += int_at(result, row, *columns);
    return sum;
}

static int rows_of(const PGresult *result)
{
    return (int)i64_min(PQntuples(result), POOL_ROWS_MAX);
}

static struct pool_row *row_get(struct pool_rows *r, const char *database, const char *user)
{
    for (size_t i = 0; i < r->row_count; i++)
        if (str_eq(r->rows[i].database, database) && str_eq(r->rows[i].user, user))
            return &r->rows[i];
    r->rows = mem_realloc_array(r->rows, r->row_count + 1, sizeof(*r->rows));
    struct pool_row *row = &r->rows[r->row_count++];
    *row = (struct pool_row){0};
    str_copy(row->database, sizeof(row->database), database);
    str_copy(row->user, sizeof(row->user), user);
    return row;
}

static struct pool_database *database_find(const struct pool_rows *r, const char *name)
{
    for (size_t i = 0; i < r->database_count; i++)
        if (str_eq(r->databases[i].name, name))
            return &r->databases[i];
    return NULL;
}

static struct pool_database *database_get(struct pool_rows *r, const char *name)
{
    struct pool_database *db = database_find(r, name);
    if (db != NULL)
        return db;
    r->databases = mem_realloc_array(r->databases, r->database_count + 1, sizeof(*r->databases));
    db = &r->databases[r->database_count++];
    *db = (struct pool_database){0};
    str_copy(db->name, sizeof(db->name), name);
    return db;
}

static bool is_admin(const char *database)
{
    return str_eq(database, "pgbouncer");
}

void pool_rows_add_pools(struct pool_rows *r, const PGresult *result)
{
    static const char *const busy[] = {"sv_active", "sv_active_cancel", "sv_being_canceled",
                                       "sv_tested", "sv_login",         NULL};
    static const char *const idle[] = {"sv_idle", "sv_used", NULL};
    for (int i = 0; i < rows_of(result); i++) {
        if (is_admin(text_at(result, i, "database")))
            continue;
        struct pool_row *row =
            row_get(r, text_at(result, i, "database"), text_at(result, i, "user"));
        row->busy += sum_at(result, i, busy);
        row->idle += sum_at(result, i, idle);
        row->waiting += int_at(result, i, "cl_waiting");
        double wait =
            (double)int_at(result, i, "maxwait") + (double)int_at(result, i, "maxwait_us") / 1e6;
        if (wait > row->max_wait_s)
            row->max_wait_s = wait;
    }
    r->processes++;
}

void pool_rows_add_stats(struct pool_rows *r, const PGresult *result)
{
    for (int i = 0; i < rows_of(result); i++) {
        if (is_admin(text_at(result, i, "database")))
            continue;
        struct pool_database *db = database_get(r, text_at(result, i, "database"));
        db->queries += int_at(result, i, "total_query_count");
        db->xacts += int_at(result, i, "total_xact_count");
        db->wait_us += int_at(result, i, "total_wait_time");
    }
}

void pool_rows_add_databases(struct pool_rows *r, const PGresult *result)
{
    bool long_name = PQfnumber(result, "reserve_pool_size") >= 0; /* from 1.24 */
    for (int i = 0; i < rows_of(result); i++) {
        if (is_admin(text_at(result, i, "name")))
            continue;
        struct pool_database *db = database_get(r, text_at(result, i, "name"));
        db->pool_size += int_at(result, i, "pool_size");
        db->reserve += int_at(result, i, long_name ? "reserve_pool_size" : "reserve_pool");
        db->max_connections += int_at(result, i, "max_connections");
    }
}

void pool_rows_add_config(struct pool_rows *r, const PGresult *result)
{
    for (int i = 0; i < rows_of(result); i++)
        if (str_eq(text_at(result, i, "key"), "max_user_connections"))
            r->user_max += int_at(result, i, "value");
}

void pool_rows_mean_waits(struct pool_rows *r, const struct pool_rows *before)
{
    for (size_t i = 0; i < r->database_count; i++) {
        struct pool_database *db = &r->databases[i];
        const struct pool_database *old = database_find(before, db->name);
        if (old == NULL || db->xacts <= old->xacts || db->wait_us < old->wait_us)
            continue;
        db->mean_wait_s =
            (double)(db->wait_us - old->wait_us) / 1e6 / (double)(db->xacts - old->xacts);
    }
}

static void consider(int64_t limit, int64_t busy, int64_t *smallest, double *utilization)
{
    if (limit <= 0)
        return;
    if (*smallest == 0 || limit < *smallest)
        *smallest = limit;
    double share = (double)busy / (double)limit;
    if (share > *utilization)
        *utilization = share;
}

int64_t pool_rows_limit(const struct pool_rows *r, const struct pool_row *row, double *utilization)
{
    const struct pool_database *db = database_find(r, row->database);
    int64_t database_busy = 0, user_busy = 0, smallest = 0;
    *utilization = -1;
    for (size_t i = 0; i < r->row_count; i++) {
        database_busy += str_eq(r->rows[i].database, row->database) ? r->rows[i].busy : 0;
        user_busy += str_eq(r->rows[i].user, row->user) ? r->rows[i].busy : 0;
    }
    if (db != NULL && db->pool_size > 0)
        consider(db->pool_size + db->reserve, row->busy, &smallest, utilization);
    if (db != NULL)
        consider(db->max_connections, database_busy, &smallest, utilization);
    consider(r->user_max, user_busy, &smallest, utilization);
    return smallest;
}

static void row_samples(const struct pool_rows *r, const struct pool_row *row,
                        struct batch_builder *b)
{
    const struct pool_database *db = database_find(r, row->database);
    double utilization, wait = row->max_wait_s;
    int64_t limit = pool_rows_limit(r, row, &utilization);
    if (db != NULL && db->mean_wait_s > wait)
        wait = db->mean_wait_s;
#define ROW_ADD(metric, value, ...)                                \
    BATCH_ADD(b, metric, value, "database", row->database, "user", \
              row->user __VA_OPT__(, ) __VA_ARGS__)
    ROW_ADD("db_connection_pool_size", (double)row->busy, "state", "active");
    ROW_ADD("db_connection_pool_size", (double)row->idle, "state", "idle");
    ROW_ADD("db_connection_pool_size", (double)row->waiting, "state", "waiting");
    ROW_ADD("db_connection_pool_wait_time_seconds", wait);
    if (limit > 0) {
        ROW_ADD("db_connection_pool_max", (double)limit);
        ROW_ADD("db_connection_pool_utilization", utilization);
    }
#undef ROW_ADD
}

void pool_rows_samples(const struct pool_rows *r, struct batch_builder *b)
{
    for (size_t i = 0; i < r->row_count; i++)
        row_samples(r, &r->rows[i], b);
    for (size_t i = 0; i < r->database_count; i++) {
        const struct pool_database *db = &r->databases[i];
        BATCH_ADD(b, "db_connection_pool_wait_seconds_total", (double)db->wait_us / 1e6, "database",
                  db->name);
        BATCH_ADD(b, "db_connection_pool_queries_total", (double)db->queries, "database", db->name);
    }
}
