/* Results of the work session become samples by the names of their columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/collect_private.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/metrics.h"

static PGresult *make_result(const char *const *columns, const char *const *cells, int cell_count)
{
    PGresAttDesc attributes[16] = {0};
    int n = 0;
    for (; columns[n] != NULL; n++)
        attributes[n].name = (char *)(uintptr_t)columns[n];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_true(PQsetResultAttrs(result, n, attributes));
    for (int i = 0; i < cell_count; i++)
        assert_true(PQsetvalue(result, i / n, i % n, (char *)(uintptr_t)cells[i],
                               cells[i] != NULL ? (int)strlen(cells[i]) : -1));
    return result;
}

static void columns_say_metric_and_labels(void **state)
{
    static const char *const columns[] = {"l_database", "db_xid_age",
                                          "db_transactions_total|outcome=commit",
                                          "db_cache_hits_total", NULL};
    static const char *const cells[] = {"app", "5", "7.5", NULL, "b\"d", "6", "not a number", "1"};
    static const char *const wanted[] = {
        "db_cache_hits_total{database=\"b\\\"d\"} 1",
        "db_transactions_total{database=\"app\",outcome=\"commit\"} 7.5",
        "db_xid_age{database=\"app\"} 5",
        "db_xid_age{database=\"b\\\"d\"} 6",
    };
    static const char *const none[] = {NULL};
    (void)state;
    struct series_table *series = series_table_create(100);
    struct batch_builder *builder = batch_builder_create(series);
    PGresult *result = make_result(columns, cells, ARRAY_LEN(cells));
    batch_begin(builder, "pg1/database", (wall_ms){1}, none);
    node_query_samples(builder, result);
    struct batch *batch = batch_finish(builder);
    assert_int_equal(batch->n, ARRAY_LEN(wanted)); /* NULL and what is no number give none */
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        bool found = false;
        for (size_t k = 0; k < batch->n; k++) {
            char text[256];
            snprintf(text, sizeof(text), "%s %g", batch->samples[k].series->text,
                     batch->samples[k].value);
            found = found || str_eq(text, wanted[i]);
        }
        if (!found)
            fail_msg("no sample '%s'", wanted[i]);
    }
    batch_unref(batch);
    PQclear(result);
    batch_builder_destroy(&builder);
    series_table_destroy(&series);
}

/* Every statement names its statement uniquely, and its metrics are in the catalogue under it. */
static void statements_agree_with_the_catalogue(void **state)
{
    size_t n;
    const struct node_query *queries = node_queries(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        size_t families = 0;
        for (size_t k = i + 1; k < n; k++)
            assert_string_not_equal(queries[i].stmt.name, queries[k].stmt.name);
        for (const char *p = strstr(queries[i].stmt.sql, " db_"); p != NULL;
             p = strstr(p + 1, " db_")) {
            char name[64];
            size_t len = strcspn(p + 1, " ,|\"");
            assert_true(len < sizeof(name));
            memcpy(name, p + 1, len);
            name[len] = '\0';
            const struct metric_info *info = metric_info_find(name);
            if (info == NULL || !str_eq(info->collector, queries[i].collector))
                fail_msg("'%s' is not in the catalogue under '%s'", name, queries[i].collector);
            families++;
        }
        for (const char *p = strstr(queries[i].stmt.sql, "\"db_"); p != NULL;
             p = strstr(p + 1, "\"db_"), families++) {
            char name[64];
            size_t len = strcspn(p + 1, "|\"");
            memcpy(name, p + 1, len);
            name[len] = '\0';
            const struct metric_info *info = metric_info_find(name);
            if (info == NULL || !str_eq(info->collector, queries[i].collector))
                fail_msg("'%s' is not in the catalogue under '%s'", name, queries[i].collector);
        }
        assert_true(families > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_say_metric_and_labels),
        cmocka_unit_test(statements_agree_with_the_catalogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
