/*
 * metrics.c: the catalogue of metric families.
 *
 * One table for /metrics, for metadata and for the question which collector an alert's input comes
 * from. Invariant: sorted by name in byte order (look-up is a binary search; a test checks it).
 */
#include "pgvigil/model/metrics.h"

#include "pgvigil/base/str.h"

#define G METRIC_GAUGE
#define C METRIC_COUNTER
#define H METRIC_HISTOGRAM

static const struct metric_info table[] = {
    {"ALERTS", G, "rules", "Alerts of the rules by state: 1 while pending or firing."},
    {"ALERTS_FOR_STATE", G, "rules", "Unix time at which the condition of an alert began to hold."},
    {"db_archive_failures_total", C, "archiver",
     "Failed attempts to archive a WAL segment, from pg_stat_archiver."},
    {"db_cache_hits_total", C, "database", "Blocks found in shared buffers, for each database."},
    {"db_cache_reads_total", C, "database",
     "Blocks read from outside of shared buffers, for each database."},
    {"db_cluster_blind", G, "gate",
     "1 while no node of the cluster answers this agent: all verdicts are held."},
    {"db_connection_pool_errors_total", C, "log",
     "Errors of a connection pool by reason; timeout means that a client waited in vain for a "
     "server connection."},
    {"db_connection_pool_max", G, "pools",
     "Effective limit of server connections of a pool; no value where it is unlimited."},
    {"db_connection_pool_queries_total", C, "pools", "Queries that went through a pool."},
    {"db_connection_pool_size", G, "pools",
     "Connections of a pool by state: active and idle server connections, waiting clients."},
    {"db_connection_pool_utilization", G, "pools",
     "Busy server connections over the effective limit of the pool, 0 to 1."},
    {"db_connection_pool_wait_seconds_total", C, "pools",
     "Time that clients have spent waiting for a server connection."},
    {"db_connection_pool_wait_time_seconds", G, "pools",
     "The larger of the longest wait of a client now and the mean wait of the last interval."},
    {"db_connections", G, "activity", "Client sessions of a node by state."},
    {"db_connections_max", G, "activity", "max_connections less the reserved connections."},
    {"db_database_size_bytes", G, "size", "Size of a database on disk."},
    {"db_locks_waiting", G, "activity", "Lock requests that are waiting."},
    {"db_longest_idle_in_transaction_seconds", G, "activity",
     "How long the longest idle session has held its transaction open, 0 if there is none."},
    {"db_longest_transaction_seconds", G, "activity",
     "Age of the oldest open transaction of a client, 0 if there is none."},
    {"db_node_role", G, "replication",
     "1 for the role that a node has: primary, replica, unknown."},
    {"db_node_unobservable", G, "gate",
     "1 while the agent cannot observe a node, with the reason: login, grant, config, name, "
     "saturated, blind, streaming, never_seen; else 0 without a reason."},
    {"db_nplus1_suspects", G, "statements",
     "Pairs of statements of a node of which one seems to be called for each row of the other."},
    {"db_partition_ahead_seconds", G, "partitions",
     "End of the newest partition of a table minus now."},
    {"db_partition_default_rows", G, "partitions", "Rows in the default partition of a table."},
    {"db_partition_expired", G, "partitions",
     "Partitions of a table that are older than its retention."},
    {"db_primary_unseen", G, "gate", "1 while no primary of the cluster answers this agent."},
    {"db_query_duration_seconds", H, "query_log",
     "Durations of queries by type, from the log of the server."},
    {"db_reads_on_primary", G, "gate",
     "1 while the primary takes reads because no replica is fit for them."},
    {"db_replica_expected_delay_seconds", G, "replication",
     "Delay that a replica is configured for (recovery_min_apply_delay)."},
    {"db_replica_health", G, "replication",
     "1 if a replica answers, is in recovery and on the right timeline, whatever its lag; else 0."},
    {"db_replica_healthy_seconds_total", C, "replication",
     "Observed time in which a replica was healthy."},
    {"db_replica_observed_seconds_total", C, "replication",
     "Time in which the health of a replica could be observed."},
    {"db_replica_replay_paused", G, "replication", "1 while replay is paused on a replica."},
    {"db_replica_routable", G, "replication",
     "1 if the gate lets reads go to a replica, 0 if it does not."},
    {"db_replica_state", G, "replication",
     "1 for the state that the gate sees a replica in: fresh, stale, down, unknown, diverged, "
     "excluded."},
    {"db_replica_streaming", G, "replication",
     "1 while the WAL receiver of a replica streams, 0 while it does not."},
    {"db_replica_weight_ratio", G, "replication",
     "Share of its usual reads that a replica should take, 0 to 1."},
    {"db_replicas", G, "gate", "Replicas of the cluster that are known."},
    {"db_replicas_fresh", G, "gate", "Replicas of the cluster that are fit for reads."},
    {"db_replicas_min_fresh", G, "gate", "Fewest fresh replicas that are wanted (gate.min_fresh)."},
    {"db_replication_lag_bound_seconds", G, "replication",
     "Bounds of the data lag: lo is proven staleness, hi is proven freshness."},
    {"db_replication_lag_bytes", G, "replication",
     "WAL that the primary has written and a replica has not replayed."},
    {"db_replication_lag_seconds", G, "replication",
     "Data lag: age of what a query on the replica sees; 0 while nothing visible is missing."},
    {"db_replication_wal_lag_seconds", G, "replication",
     "WAL lag: age of the newest WAL that a replica has replayed, whether it changes data or not."},
    {"db_required_index", G, "indexes",
     "1 if an index that the configuration requires is there and valid, 0 if not."},
    {"db_slot_active", G, "slots", "1 while a replication slot is in use."},
    {"db_slot_lost", G, "slots", "1 if a replication slot has lost WAL that it needs."},
    {"db_slot_retained_bytes", G, "slots", "WAL that a replication slot keeps from being removed."},
    {"db_slow_queries_observable", G, "query_log",
     "1 while slow queries of a node can be counted, 0 while its log gives no durations."},
    {"db_slow_queries_total", C, "query_log",
     "Queries of a node that took longer than a threshold; each threshold counts all above it."},
    {"db_split_brain", G, "gate", "1 while more than one node of the cluster takes writes."},
    {"db_standby_lag_bytes", G, "standbys",
     "WAL that a standby has not sent, flushed or replayed, as its upstream sees it."},
    {"db_standby_streaming", G, "standbys",
     "1 if a standby streams from this node, 0 while it catches up."},
    {"db_statements_calls_total", C, "statements", "Calls of a statement of a node."},
    {"db_statements_seconds_total", C, "statements",
     "Time that the calls of a statement of a node have taken."},
    {"db_transactions_total", C, "database",
     "Transactions of a database by outcome: commit, rollback."},
    {"db_up", G, "replication", "1 while a node answers its probes, 0 while it does not."},
    {"db_xid_age", G, "database",
     "Age of the oldest transaction id of a database; wraparound is at 2 billion."},
    {"pgvigil_alert_firing", G, "rules", "1 while an alert fires."},
    {"pgvigil_alerts", G, "self", "Alerts by state."},
    {"pgvigil_alerts_db_commits_total", C, "self", "Transactions committed to alerts.db."},
    {"pgvigil_alerts_db_degraded", G, "self", "1 while alerts.db cannot be written."},
    {"pgvigil_alerts_db_failures_total", C, "self", "Failed transactions of alerts.db."},
    {"pgvigil_build_info", G, "self", "Always 1; version of the agent in its labels."},
    {"pgvigil_collector_failing", G, "self", "1 while a collector fails or is late, else 0."},
    {"pgvigil_collector_failures_total", C, "self", "Failed polls of a collector."},
    {"pgvigil_collector_poll_duration_seconds", G, "self",
     "Duration of the last good poll of a collector."},
    {"pgvigil_collector_polls_total", C, "self", "Polls of a collector, good and failed."},
    {"pgvigil_collector_skipped_total", C, "self",
     "Polls that were left out because the one before was still running."},
    {"pgvigil_config_last_reload_success_timestamp_seconds", G, "self",
     "Unix time of the last configuration that was taken into use."},
    {"pgvigil_config_last_reload_successful", G, "self",
     "1 if the last attempt to load the configuration was good; 0: the one before runs on."},
    {"pgvigil_cpu_seconds_total", C, "self", "CPU time of the agent."},
    {"pgvigil_deliveries_not_durable_total", C, "self",
     "Alert messages that were sent before they were on disk."},
    {"pgvigil_deliveries_total", C, "self",
     "Alert messages by outcome of an attempt: delivered, failed, not_durable."},
    {"pgvigil_gate_files_ok", G, "self", "1 while the health files can be written, else 0."},
    {"pgvigil_gate_reports_lost_total", C, "self",
     "Reports of the gate that the engine was too slow to take."},
    {"pgvigil_head_bytes", G, "self", "Memory of the newest samples."},
    {"pgvigil_head_dropped_total", C, "self",
     "Samples that were out of order or over the memory limit of the newest samples."},
    {"pgvigil_head_samples_total", C, "self", "Samples appended to memory."},
    {"pgvigil_head_series", G, "self", "Series with samples in memory."},
    {"pgvigil_history_bytes", G, "self", "Size of history.db."},
    {"pgvigil_history_commits_total", C, "self", "Transactions committed to history.db."},
    {"pgvigil_history_degraded", G, "self", "1 while history.db cannot be written."},
    {"pgvigil_history_dropped_total", C, "self", "Samples that were lost to history."},
    {"pgvigil_history_queue_bytes", G, "self", "Samples that wait for history.db."},
    {"pgvigil_history_samples_total", C, "self", "Samples written to history.db."},
    {"pgvigil_http_refused_total", C, "self", "HTTP connections that were over a limit."},
    {"pgvigil_http_requests_total", C, "self", "HTTP requests that were answered."},
    {"pgvigil_last_collect_timestamp_seconds", G, "self",
     "Unix time of the last good poll of a collector."},
    {"pgvigil_log_dropped_total", C, "self", "Log lines lost because nobody read them."},
    {"pgvigil_loop_lateness_seconds", H, "self",
     "How late timers of a loop ran, from when they were due."},
    {"pgvigil_loop_turn_seconds", H, "self", "Length of the turns of a loop."},
    {"pgvigil_loop_turns_total", C, "self", "Turns of a loop."},
    {"pgvigil_memory_anonymous_bytes", G, "self", "Anonymous memory of the agent."},
    {"pgvigil_memory_resident_bytes", G, "self", "Resident memory of the agent."},
    {"pgvigil_open_fds", G, "self", "Open file descriptors of the agent."},
    {"pgvigil_outbox_length", G, "self", "Alert messages that are not delivered yet."},
    {"pgvigil_outbox_oldest_seconds", G, "self",
     "Age of the oldest alert message that is not delivered yet, 0 if there is none."},
    {"pgvigil_queue_length", G, "self", "Items that wait in a queue between threads."},
    {"pgvigil_rule_evaluation_failures_total", C, "self", "Rule evaluations that failed."},
    {"pgvigil_rule_evaluations_missed_total", C, "self",
     "Evaluations of a rule group that were left out because the agent was late."},
    {"pgvigil_rule_evaluations_total", C, "self", "Rule evaluations."},
    {"pgvigil_rule_without_series", G, "self",
     "1 for a rule that matches no series although the collector of its metrics is configured."},
    {"pgvigil_series", G, "self", "Series that the agent knows."},
    {"pgvigil_series_dropped_total", C, "self", "Samples refused by the limits on series."},
    {"pgvigil_stage_seconds", H, "self",
     "Time of a stage: publish, rules, alerts_commit, history_commit, http."},
    {"pgvigil_start_time_seconds", G, "self", "Unix time at which the agent started."},
};

#undef G
#undef C
#undef H

const char *metric_type_name(enum metric_type type)
{
    switch (type) {
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_COUNTER:
        return "counter";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    return "unknown";
}

static int by_name(const void *key, const void *row)
{
    return strcmp(key, ((const struct metric_info *)row)->name);
}

static const struct metric_info *find_family(const char *name)
{
    return bsearch(name, table, ARRAY_LEN(table), sizeof(table[0]), by_name);
}

const struct metric_info *metric_info_find(const char *name)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    char family[128];
    const struct metric_info *info = find_family(name);
    size_t n = strlen(name);
    for (size_t i = 0; info == NULL && i < ARRAY_LEN(suffixes); i++) {
        size_t tail = strlen(suffixes[i]);
        if (n <= tail || n - tail >= sizeof(family) || !str_eq(name + n - tail, suffixes[i]))
            continue;
        memcpy(family, name, n - tail);
        family[n - tail] = '\0';
        info = find_family(family);
        if (info != NULL && info->type != METRIC_HISTOGRAM)
            info = NULL;
    }
    return info;
}

const struct metric_info *metric_info_all(size_t *n)
{
    *n = ARRAY_LEN(table);
    return table;
}
