/*
 * config_table.c: the one list of settings: key, type, default, limits, help.
 *
 * Parser, defaults, suggestions for unknown keys and the manual all use these rows, so that a
 * setting cannot exist in one of them only. A key with a dot lies in a map of that name. Limits are
 * wide: they catch slips of the unit (a lag limit of 60 ms or of 60 days), not odd wishes.
 */
#include "config_internal.h"

#include "pgvigil/base/http_client.h"
#include "pgvigil/base/str.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define MIB    (INT64_C(1024) * 1024)

#define TOP(field)  offsetof(struct config, field)
#define NODE(field) offsetof(struct config_node, field)
#define POOL(field) offsetof(struct config_pool, field)
#define LOG(field)  offsetof(struct config_log, field)
#define OVER(field) offsetof(struct config_override, field)

static const char *const scope_words[] = {"node", "cluster", NULL};
static const char *const panic_words[] = {"primary", "best", "hold", NULL};
static const char *const loss_words[] = {"hold", "unhealthy", NULL};
static const char *const mode_words[] = {"strict", "relaxed", NULL};
static const char *const kind_words[] = {"pgbouncer", NULL};

static const struct setting top_rows[] = {
    {"cluster", SETTING_NAME, TOP(cluster), "", 0, 0, NULL, true,
     "name of the cluster: a label on every series and alert"},
    {"scope", SETTING_WORD, TOP(scope), NULL, 0, 0, scope_words, true,
     "node: judge the own node only; cluster: all nodes (default with more than one node)"},
    {"listen", SETTING_LISTEN, 0, "127.0.0.1:9432", 0, 65535, NULL, false,
     "address and port of metrics, API and page"},
    {"insecure", SETTING_BOOL, TOP(insecure), "false", 0, 0, NULL, true,
     "allows to listen off loopback without TLS and users"},
    {"state_dir", SETTING_PATH, TOP(state_dir), "/var/lib/pgvigil", 0, 0, NULL, false,
     "directory of history.db and alerts.db"},
    {"health_dir", SETTING_PATH, TOP(health_dir), "/run/pgvigil/health", 0, 0, NULL, false,
     "directory of the health files"},
    {"nodes", SETTING_NODES, 0, NULL, 0, NODES_MAX, NULL, true, "PostgreSQL servers"},
    {"pools", SETTING_POOLS, 0, NULL, 0, POOLS_MAX, NULL, true, "connection pools"},
    {"logs", SETTING_LOGS, 0, NULL, 0, LOGS_MAX, NULL, true, "log files that are followed"},
    {"intervals.replication", SETTING_DURATION, TOP(intervals.replication_ms), "1s", 100, MINUTE,
     NULL, true, "time between probes of replication"},
    {"intervals.activity", SETTING_DURATION, TOP(intervals.activity_ms), "5s", 100, HOUR, NULL,
     true, "time between polls of sessions, transactions and locks"},
    {"intervals.pools", SETTING_DURATION, TOP(intervals.pools_ms), "5s", 100, HOUR, NULL, true,
     "time between polls of connection pools"},
    {"intervals.statements", SETTING_DURATION, TOP(intervals.statements_ms), "15s", 100, HOUR, NULL,
     true, "time between polls of statistics of databases and statements"},
    {"intervals.schema", SETTING_DURATION, TOP(intervals.schema_ms), "1m", SECOND, DAY, NULL, true,
     "time between checks of sizes and declared things"},
    {"gate.max_lag", SETTING_DURATION, TOP(gate.max_lag_ms), "60s", 100, 30 * DAY, NULL, true,
     "a replica whose data are older takes no reads"},
    {"gate.hard_lag", SETTING_DURATION, TOP(gate.hard_lag_ms), NULL, 100, 150 * DAY, NULL, true,
     "lag at which a replica leaves at once (default: 5 x max_lag)"},
    {"gate.fall", SETTING_COUNT, TOP(gate.fall), "2", 1, 100, NULL, true,
     "polls over max_lag until a replica leaves"},
    {"gate.hold", SETTING_DURATION, TOP(gate.hold_ms), "30s", 0, HOUR, NULL, true,
     "how long a replica must be fresh again before it returns"},
    {"gate.lease", SETTING_DURATION, TOP(gate.lease_ms), "10s", SECOND, 5 * MINUTE, NULL, true,
     "health files of an agent that died are gone after this time"},
    {"gate.down_after", SETTING_COUNT, TOP(gate.down_after), "3", 1, 100, NULL, true,
     "failed probes until a node is down"},
    {"gate.probe_timeout", SETTING_DURATION, TOP(gate.probe_timeout_ms), "2s", 100, MINUTE, NULL,
     true, "deadline of a probe"},
    {"gate.min_fresh", SETTING_COUNT, TOP(gate.min_fresh), "1", 0, NODES_MAX, NULL, true,
     "alert when not more replicas than this are fresh"},
    {"gate.panic", SETTING_WORD, TOP(gate.panic), "primary", 0, 0, panic_words, true,
     "who takes reads when no replica is fresh: the primary, the best replica, or as it was"},
    {"gate.on_total_loss", SETTING_WORD, TOP(gate.on_total_loss), "hold", 0, 0, loss_words, true,
     "what is published when no node answers"},
    {"gate.write", SETTING_SWITCH, TOP(gate.write), "off", 0, 0, NULL, true,
     "publish health files for writes"},
    {"gate.dry_run", SETTING_BOOL, TOP(gate.dry_run), "false", 0, 0, NULL, true,
     "decide and log, publish nothing new"},
    {"gate.panic_guard.max_connections_used", SETTING_PERCENT, TOP(gate.guard_connections), "80%",
     1, 100, NULL, true, "no fallback to a primary with more of its connections in use"},
    {"gate.panic_guard.primary_weight", SETTING_PERCENT, TOP(gate.guard_weight), "30%", 1, 100,
     NULL, true, "share of reads that the primary takes in a fallback"},
    {"rules", SETTING_GLOBS, 0, "/usr/share/pgvigil/rules/*.yml /etc/pgvigil/rules/*.yml", 0,
     RULE_GLOBS_MAX, NULL, true, "rule files in Prometheus' format"},
    {"rule_overrides", SETTING_OVERRIDES, 0, NULL, 0, OVERRIDES_MAX, NULL, true,
     "changes to alerts of the rule files, by their names"},
    {"evaluation_interval", SETTING_DURATION, TOP(evaluation_interval_ms), "1s", 100, HOUR, NULL,
     false, "time between evaluations of rule groups without an interval of their own"},
    {"notify.webhook", SETTING_URL, TOP(notify.webhook), "", 0, 0, NULL, true,
     "URL that alerts are sent to"},
    {"outgoing.allow_loopback", SETTING_BOOL, TOP(outgoing.allow_loopback), "true", 0, 0, NULL,
     true, "webhooks may be on this host"},
    {"outgoing.deny", SETTING_NETWORKS, 0, "169.254.0.0/16", 0, HTTP_DENY_MAX, NULL, true,
     "networks that webhooks must not be in"},
    {"outgoing.ca", SETTING_FILE, TOP(outgoing.ca), "", 0, 0, NULL, true,
     "certificates to verify webhooks with, instead of the system's"},
    {"outgoing.cert", SETTING_FILE, TOP(outgoing.cert), "", 0, 0, NULL, true,
     "client certificate for webhooks"},
    {"outgoing.key", SETTING_FILE, TOP(outgoing.key), "", 0, 0, NULL, true,
     "key of the client certificate"},
    {"history.retention", SETTING_DURATION, TOP(history.retention_ms), "30d", HOUR, 3660 * DAY,
     NULL, true, "how long samples are kept"},
    {"history.max_size", SETTING_SIZE, TOP(history.max_size_bytes), "2GiB", 16 * MIB,
     INT64_C(1024) * 1024 * MIB, NULL, true, "history.db stays below this size"},
    {"external_labels", SETTING_LABELS, 0, NULL, 0, EXTERNAL_MAX, NULL, true,
     "labels on all alerts that leave the agent"},
    {"secret_modes", SETTING_WORD, TOP(secret_modes), "strict", 0, 0, mode_words, true,
     "strict: secret files must not be readable by others"},
};

static const struct setting node_rows[] = {
    {"name", SETTING_NAME, NODE(name), NULL, 1, 0, NULL, true,
     "name of the host, not of its role; unique"},
    {"dsn", SETTING_DSN, NODE(dsn), NULL, 0, 0, NULL, true, "connection string or URI"},
    {"cluster", SETTING_NAME, NODE(cluster), NULL, 0, 0, NULL, true,
     "its cluster (default: the top-level one)"},
    {"zone", SETTING_NAME, NODE(zone), "", 0, 0, NULL, true, "where it stands"},
    {"local", SETTING_BOOL, NODE(local), NULL, 0, 0, NULL, true,
     "whom /primary and /replica speak of (default: the only node, or the one on a local socket)"},
    {"read", SETTING_BOOL, NODE(read), "true", 0, 0, NULL, true, "false keeps it out of routing"},
    {"max_lag", SETTING_DURATION, NODE(max_lag_ms), NULL, 100, 30 * DAY, NULL, true,
     "its own limit (default: gate.max_lag)"},
    {"hard_lag", SETTING_DURATION, NODE(hard_lag_ms), NULL, 100, 150 * DAY, NULL, true,
     "its own limit (default: gate.hard_lag, or 5 x its own max_lag)"},
};

static const struct setting pool_rows[] = {
    {"name", SETTING_NAME, POOL(name), NULL, 1, 0, NULL, true, "name of the pool; unique"},
    {"kind", SETTING_WORD, POOL(kind), "pgbouncer", 0, 0, kind_words, true, "what it is"},
    {"cluster", SETTING_NAME, POOL(cluster), NULL, 0, 0, NULL, true,
     "its cluster (default: the top-level one)"},
    {"dsn", SETTING_POOL_DSN, 0, NULL, 0, 1, NULL, true, "connection string of the admin console"},
    {"dsns", SETTING_POOL_DSNS, 0, NULL, 0, POOL_DSNS_MAX, NULL, true,
     "one for each process that shares the port"},
};

static const struct setting log_rows[] = {
    {"pool", SETTING_NAME, LOG(pool), NULL, 1, 0, NULL, true, "pool that writes the log"},
    {"path", SETTING_PATH, LOG(path), NULL, 0, 0, NULL, true, "path of the log file"},
};

static const struct setting override_rows[] = {
    {"threshold", SETTING_THRESHOLD, OVER(threshold), NULL, 0, 0, NULL, true,
     "the number that the expression compares with"},
    {"for", SETTING_DURATION, OVER(for_ms), NULL, 0, 3660 * DAY, NULL, true,
     "how long it holds before the alert fires"},
    {"keep_firing_for", SETTING_DURATION, OVER(keep_firing_ms), NULL, 0, 3660 * DAY, NULL, true,
     "how long it goes on firing after that"},
    {"severity", SETTING_TEXT, OVER(severity), NULL, 0, LABEL_VALUE_MAX, NULL, true,
     "the label severity"},
    {"disabled", SETTING_BOOL, OVER(disabled), "false", 0, 0, NULL, true,
     "true takes the alert out"},
};

#define TABLE_OF(rows)        \
    {                         \
        rows, ARRAY_LEN(rows) \
    }
static const struct setting_table top_table = TABLE_OF(top_rows);
static const struct setting_table node_table = TABLE_OF(node_rows);
static const struct setting_table pool_table = TABLE_OF(pool_rows);
static const struct setting_table log_table = TABLE_OF(log_rows);
static const struct setting_table override_table = TABLE_OF(override_rows);

_Static_assert(ARRAY_LEN(top_rows) <= CONFIG_ROWS_MAX, "origins are kept for each row");
_Static_assert(ARRAY_LEN(node_rows) <= CONFIG_ITEM_ROWS_MAX, "origins are kept for each row");
_Static_assert(ARRAY_LEN(pool_rows) <= CONFIG_ITEM_ROWS_MAX, "origins are kept for each row");

const struct setting_table *config_table_top(void)
{
    return &top_table;
}

const struct setting_table *config_table_node(void)
{
    return &node_table;
}

const struct setting_table *config_table_pool(void)
{
    return &pool_table;
}

const struct setting_table *config_table_log(void)
{
    return &log_table;
}

const struct setting_table *config_table_override(void)
{
    return &override_table;
}

size_t config_row(const struct setting_table *table, const char *key)
{
    for (size_t i = 0; i < table->count; i++) {
        if (str_eq(table->rows[i].key, key))
            return i;
    }
    abort();
}
