/* test_metrics.c: the catalogue is sorted, complete and in Prometheus' manners. */
#include "pgvigil/model/metrics.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static void rows_are_sorted_and_well_named(void **state)
{
    size_t n;
    const struct metric_info *all = metric_info_all(&n);
    (void)state;
    assert_true(n > 60);
    for (size_t i = 0; i < n; i++) {
        bool word =
            all[i].collector[0] != '\0' &&
            all[i].collector[strspn(all[i].collector, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
        if (!word || strlen(all[i].help) < 15 || !ends_with(all[i].help, "."))
            fail_msg("%s: collector or help", all[i].name);
        if (i > 0 && strcmp(all[i - 1].name, all[i].name) >= 0)
            fail_msg("%s is not in order", all[i].name);
        if (ends_with(all[i].name, "_total") != (all[i].type == METRIC_COUNTER))
            fail_msg("%s: _total is for counters", all[i].name);
    }
}

static void documented_metrics_are_there(void **state)
{
    static const struct {
        const char *name, *collector;
        enum metric_type type;
    } cases[] = {
        {"db_connection_pool_size", "pools", METRIC_GAUGE},
        {"db_connection_pool_wait_time_seconds", "pools", METRIC_GAUGE},
        {"db_connection_pool_errors_total", "log", METRIC_COUNTER},
        {"db_connection_pool_max", "pools", METRIC_GAUGE},
        {"db_connection_pool_utilization", "pools", METRIC_GAUGE},
        {"db_connection_pool_wait_seconds_total", "pools", METRIC_COUNTER},
        {"db_connection_pool_queries_total", "pools", METRIC_COUNTER},
        {"db_replication_lag_seconds", "replication", METRIC_GAUGE},
        {"db_replication_lag_bound_seconds", "replication", METRIC_GAUGE},
        {"db_replication_lag_bytes", "replication", METRIC_GAUGE},
        {"db_replica_health", "replication", METRIC_GAUGE},
        {"db_replica_routable", "replication", METRIC_GAUGE},
        {"db_replica_state", "replication", METRIC_GAUGE},
        {"db_replica_expected_delay_seconds", "replication", METRIC_GAUGE},
        {"db_replica_healthy_seconds_total", "replication", METRIC_COUNTER},
        {"db_replica_observed_seconds_total", "replication", METRIC_COUNTER},
        {"db_up", "replication", METRIC_GAUGE},
        {"db_node_role", "replication", METRIC_GAUGE},
        {"db_node_unobservable", "gate", METRIC_GAUGE},
        {"db_split_brain", "gate", METRIC_GAUGE},
        {"db_reads_on_primary", "gate", METRIC_GAUGE},
        {"db_slot_lost", "slots", METRIC_GAUGE},
        {"db_slot_retained_bytes", "slots", METRIC_GAUGE},
        {"db_connections", "activity", METRIC_GAUGE},
        {"db_connections_max", "activity", METRIC_GAUGE},
        {"db_longest_transaction_seconds", "activity", METRIC_GAUGE},
        {"db_longest_idle_in_transaction_seconds", "activity", METRIC_GAUGE},
        {"db_locks_waiting", "activity", METRIC_GAUGE},
        {"db_transactions_total", "database", METRIC_COUNTER},
        {"db_cache_hits_total", "database", METRIC_COUNTER},
        {"db_cache_reads_total", "database", METRIC_COUNTER},
        {"db_xid_age", "database", METRIC_GAUGE},
        {"db_archive_failures_total", "archiver", METRIC_COUNTER},
        {"ALERTS", "rules", METRIC_GAUGE},
        {"ALERTS_FOR_STATE", "rules", METRIC_GAUGE},
        {"pgvigil_alert_firing", "rules", METRIC_GAUGE},
        {"pgvigil_build_info", "self", METRIC_GAUGE},
        {"pgvigil_loop_lateness_seconds", "self", METRIC_HISTOGRAM},
        {"pgvigil_loop_lateness_seconds_bucket", "self", METRIC_HISTOGRAM},
        {"pgvigil_loop_lateness_seconds_count", "self", METRIC_HISTOGRAM},
        {"pgvigil_loop_lateness_seconds_sum", "self", METRIC_HISTOGRAM},
        {"pgvigil_series_dropped_total", "self", METRIC_COUNTER},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct metric_info *info = metric_info_find(cases[i].name);
        if (info == NULL)
            fail_msg("%s is missing", cases[i].name);
        assert_string_equal(info->collector, cases[i].collector);
        assert_int_equal(info->type, cases[i].type);
    }
}

static void others_are_not(void **state)
{
    char long_name[400];
    (void)state;
    memset(long_name, 'x', sizeof(long_name));
    memcpy(long_name + sizeof(long_name) - 5, "_sum", 5);
    assert_null(metric_info_find("nothing"));
    assert_null(metric_info_find(""));
    assert_null(metric_info_find("_sum"));
    assert_null(metric_info_find("db_up_count")); /* not a histogram */
    assert_null(metric_info_find(long_name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sorted_and_well_named),
        cmocka_unit_test(documented_metrics_are_there),
        cmocka_unit_test(others_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
