/* PgBouncer's answers of several releases, by column name, and the arithmetic of limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/pool_rows.h"
#include "pgvigil/base/str.h"

#define COLUMNS_MAX 24
#define ROWS_MAX    8

/* A result with these columns; cells row by row; NULL ends both. */
static PGresult *make_result(const char *const *columns, const char *const *cells)
{
    PGresAttDesc attributes[COLUMNS_MAX] = {0};
    int n = 0;
    for (; columns[n] != NULL; n++)
        attributes[n].name = (char *)(uintptr_t)columns[n];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_true(PQsetResultAttrs(result, n, attributes));
    for (int i = 0; cells[i] != NULL; i++)
        assert_true(
            PQsetvalue(result, i / n, i % n, (char *)(uintptr_t)cells[i], (int)strlen(cells[i])));
    return result;
}

#define ADD(rows, kind, columns, cells)                  \
    do {                                                 \
        PGresult *result_ = make_result(columns, cells); \
        pool_rows_add_##kind(rows, result_);             \
        PQclear(result_);                                \
    } while (0)

static const char *const pools_118[] = {
    "database",          "user",      "cl_active", "cl_waiting", "sv_active", "sv_active_cancel",
    "sv_being_canceled", "sv_idle",   "sv_used",   "sv_tested",  "sv_login",  "maxwait",
    "maxwait_us",        "pool_mode", NULL};
static const char *const databases_118[] = {"name", "pool_size", "reserve_pool", "max_connections",
                                            NULL};
static const char *const databases_124[] = {"name", "pool_size", "reserve_pool_size",
                                            "max_connections", NULL};
static const char *const stats[] = {"database", "total_xact_count", "total_query_count",
                                    "total_wait_time", NULL};
static const char *const config[] = {"key", "value", NULL};

static void reads_pools_by_name(void **state)
{
    static const char *const cells[] = {
        "app", "web", "9",      "3",           "4",         "1",         "1", "2",         "1", "1",
        "1",   "2",   "500000", "transaction", "pgbouncer", "pgbouncer", "1", "0",         "0", "0",
        "0",   "0",   "0",      "0",           "0",         "0",         "0", "statement", NULL};
    struct pool_rows r = {0};
    (void)state;
    ADD(&r, pools, pools_118, cells);
    assert_int_equal(r.row_count, 1); /* the admin database is left out */
    assert_string_equal(r.rows[0].database, "app");
    assert_int_equal(r.rows[0].busy, 8);
    assert_int_equal(r.rows[0].idle, 3);
    assert_int_equal(r.rows[0].waiting, 3);
    assert_true(r.rows[0].max_wait_s == 2.5);
    pool_rows_deinit(&r);
}

static void adds_up_several_processes(void **state)
{
    static const char *const one[] = {"app", "web", "1", "0", "4",  "0", "0", "0",
                                      "0",   "0",   "0", "0", "10", "t", NULL};
    static const char *const two[] = {"app", "web", "1", "2", "5", "0", "0", "1",
                                      "0",   "0",   "0", "1", "0", "t", NULL};
    static const char *const sizes[] = {"app", "10", "2", "0", NULL};
    struct pool_rows r = {0};
    double utilization;
    (void)state;
    ADD(&r, pools, pools_118, one);
    ADD(&r, pools, pools_118, two);
    ADD(&r, databases, databases_118, sizes);
    ADD(&r, databases, databases_118, sizes);
    assert_int_equal(r.processes, 2);
    assert_int_equal(r.rows[0].busy, 9);
    assert_true(r.rows[0].max_wait_s == 1);
    assert_int_equal(pool_rows_limit(&r, &r.rows[0], &utilization), 24);
    assert_true(utilization == 9.0 / 24);
    pool_rows_deinit(&r);
}

static const struct {
    const char *size, *reserve, *database_max, *user_max;
    int64_t limit;
    double utilization; /* of the first row: 6 busy; its database 9, its user 10 */
} limits[] = {
    {"10", "0", "0", "0", 10, 0.6},  /* the pool's own size */
    {"10", "5", "0", "0", 15, 0.4},  /* and its reserve */
    {"0", "0", "0", "0", 0, -1},     /* unlimited gives no value */
    {"20", "0", "9", "0", 9, 1.0},   /* the database's cap is shared by its users */
    {"20", "0", "0", "10", 10, 1.0}, /* the user's cap is shared by its databases */
    {"8", "0", "100", "100", 8, 0.75}, {"0", "5", "18", "0", 18, 0.5},
};

static void finds_the_effective_limit(void **state)
{
    static const char *const rows[] = {
        "app", "web", "0", "0", "6", "0", "0", "0", "0", "0", "0", "0", "0", "t",     "app",
        "job", "0",   "0", "3", "0", "0", "0", "0", "0", "0", "0", "0", "t", "other", "web",
        "0",   "0",   "4", "0", "0", "0", "0", "0", "0", "0", "0", "t", NULL};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const char *const sizes[] = {"app", limits[i].size, limits[i].reserve,
                                     limits[i].database_max, NULL};
        const char *const keys[] = {"max_client_conn", "100", "max_user_connections",
                                    limits[i].user_max, NULL};
        struct pool_rows r = {0};
        double utilization;
        ADD(&r, pools, pools_118, rows);
        ADD(&r, databases, i % 2 ? databases_124 : databases_118, sizes);
        ADD(&r, config, config, keys);
        assert_int_equal(pool_rows_limit(&r, &r.rows[0], &utilization), limits[i].limit);
        assert_true(utilization == limits[i].utilization);
        pool_rows_deinit(&r);
    }
}

static void takes_the_mean_wait_of_the_interval(void **state)
{
    static const char *const first[] = {"app", "100", "500", "1000000", NULL};
    static const char *const second[] = {"app", "110", "600", "6000000", NULL};
    struct pool_rows before = {0}, now = {0}, reset = {0};
    (void)state;
    ADD(&before, stats, stats, first);
    ADD(&now, stats, stats, second);
    ADD(&reset, stats, stats, first);
    pool_rows_mean_waits(&now, &before);
    assert_true(now.databases[0].mean_wait_s == 0.5);
    pool_rows_mean_waits(&reset, &now); /* counters went back: no figure */
    assert_true(reset.databases[0].mean_wait_s == 0);
    pool_rows_deinit(&before);
    pool_rows_deinit(&now);
    pool_rows_deinit(&reset);
}

static double value_of(const struct batch *b, const char *text)
{
    for (size_t i = 0; i < b->n; i++)
        if (str_eq(b->samples[i].series->text, text))
            return b->samples[i].value;
    fail_msg("no series %s", text);
    return 0;
}

static void gives_samples(void **state)
{
    static const char *const rows[] = {"app", "web", "0", "2", "6", "0", "0", "1",
                                       "0",   "0",   "0", "3", "0", "t", NULL};
    static const char *const sizes[] = {"app", "6", "0", "0", NULL};
    static const char *const none[] = {NULL};
    struct pool_rows r = {0};
    (void)state;
    ADD(&r, pools, pools_118, rows);
    ADD(&r, databases, databases_118, sizes);
    struct series_table *series = series_table_create(1000);
    struct batch_builder *builder = batch_builder_create(series);
    batch_begin(builder, "app/pools", (wall_ms){1}, none);
    pool_rows_samples(&r, builder);
    struct batch *b = batch_finish(builder);
#define LABELS "{database=\"app\",user=\"web\"}"
    assert_true(value_of(b, "db_connection_pool_utilization" LABELS) == 1);
    assert_true(value_of(b, "db_connection_pool_max" LABELS) == 6);
    assert_true(value_of(b, "db_connection_pool_wait_time_seconds" LABELS) == 3);
    assert_true(value_of(b, "db_connection_pool_size{database=\"app\",state=\"waiting\","
                            "user=\"web\"}") == 2);
    batch_unref(b);
    batch_builder_destroy(&builder);
    series_table_destroy(&series);
    pool_rows_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_pools_by_name),
        cmocka_unit_test(adds_up_several_processes),
        cmocka_unit_test(finds_the_effective_limit),
        cmocka_unit_test(takes_the_mean_wait_of_the_interval),
        cmocka_unit_test(gives_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
