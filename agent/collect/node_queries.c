/*
 * The statements of the work session are data: a column's name says which metric and labels its
 * value has, so a new figure is a new column, not new code. Every name is qualified, nothing
 * writes, each view is read once per poll. pg_database_size reads every file of a database and so
 * runs at the slow cadence only.
 */
#include "pgvigil/base/str.h"

#include "collect_private.h"

#define LABEL_PREFIX    "l_"
#define ROW_LABELS_MAX  8
#define COLUMN_NAME_MAX 64 /* PostgreSQL cuts names at 63 bytes */
#define ROWS_MAX        2000

#define STATE(state) \
    "count(*) FILTER (WHERE c AND state = '" state "') AS \"db_connections|state=" state "\","

static const struct node_query queries[] = {
    {{"activity",
      "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS " NODE_QUERY_GRANTED
      "," STATE("active") STATE("idle") STATE("idle in transaction")
          STATE("idle in transaction (aborted)") STATE("fastpath function call") STATE(
              "disabled") " count(*) FILTER (WHERE c AND state IS NULL) AS "
                          "\"db_connections|state=unknown\","
                          " coalesce(max(EXTRACT(epoch FROM clock_timestamp() - xact_start))"
                          "   FILTER (WHERE c AND pid <> pg_catalog.pg_backend_pid()), 0)"
                          "   AS db_longest_transaction_seconds,"
                          " coalesce(max(EXTRACT(epoch FROM clock_timestamp() - state_change))"
                          "   FILTER (WHERE c AND state LIKE 'idle in transaction%'), 0)"
                          "   AS db_longest_idle_in_transaction_seconds,"
                          " count(*) FILTER (WHERE wait_event_type = 'Lock') AS db_locks_waiting,"
                          " (SELECT sum(CASE WHEN name = 'max_connections' THEN setting::int ELSE "
                          "-setting::int END)"
                          "   FROM pg_catalog.pg_settings WHERE name IN ('max_connections',"
                          "   'superuser_reserved_connections', 'reserved_connections')) AS "
                          "db_connections_max"
                          " FROM (SELECT *, backend_type = 'client backend' AS c"
                          "   FROM pg_catalog.pg_stat_activity) AS a"},
     "activity",
     CADENCE_ACTIVITY,
     0},
    {{"database", "SELECT d.datname AS l_database,"
                  " s.xact_commit AS \"db_transactions_total|outcome=commit\","
                  " s.xact_rollback AS \"db_transactions_total|outcome=rollback\","
                  " s.blks_hit AS db_cache_hits_total, s.blks_read AS db_cache_reads_total,"
                  " pg_catalog.age(d.datfrozenxid) AS db_xid_age"
                  " FROM pg_catalog.pg_database AS d"
                  " LEFT JOIN pg_catalog.pg_stat_database AS s ON s.datid = d.oid"
                  " ORDER BY d.oid LIMIT 500"},
     "database",
     CADENCE_STATEMENTS,
     0},
    {{"archiver",
      "SELECT failed_count AS db_archive_failures_total FROM pg_catalog.pg_stat_archiver"},
     "archiver",
     CADENCE_STATEMENTS,
     0},
    {{"slots",
      "SELECT slot_name AS l_slot,"
      " greatest(pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery()"
      "   THEN coalesce(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())"
      "   ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn), 0) AS db_slot_retained_bytes,"
      " coalesce(wal_status = 'lost', false)::int AS db_slot_lost,"
      " active::int AS db_slot_active"
      " FROM pg_catalog.pg_replication_slots WHERE NOT temporary ORDER BY slot_name LIMIT 500"},
     "slots",
     CADENCE_STATEMENTS,
     0},
    /* Physical standbys only: pg_receivewal reports no replay position, logical senders have a
     * logical slot, pg_basebackup is in state backup. */
    {{"standbys",
      "SELECT r.application_name AS l_standby,"
      " (r.state = 'streaming')::int AS db_standby_streaming,"
      " pg_catalog.pg_wal_lsn_diff(p.lsn, r.sent_lsn) AS \"db_standby_lag_bytes|stage=sent\","
      " pg_catalog.pg_wal_lsn_diff(p.lsn, r.flush_lsn) AS \"db_standby_lag_bytes|stage=flush\","
      " pg_catalog.pg_wal_lsn_diff(p.lsn, r.replay_lsn) AS \"db_standby_lag_bytes|stage=replay\""
      " FROM pg_catalog.pg_stat_replication AS r"
      " LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.active_pid = r.pid"
      " CROSS JOIN (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()"
      "   THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS lsn)"
      "   AS p"
      " WHERE r.replay_lsn IS NOT NULL AND coalesce(s.slot_type, 'physical') = 'physical'"
      " AND r.state <> 'backup' ORDER BY r.application_name LIMIT 500"},
     "standbys",
     CADENCE_STATEMENTS,
     0},
    {{"size",
      "SELECT datname AS l_database, pg_catalog.pg_database_size(oid) AS db_database_size_bytes"
      " FROM pg_catalog.pg_database"
      " WHERE pg_catalog.has_database_privilege(oid, 'CONNECT')"
      " OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER') ORDER BY oid LIMIT 200"},
     "size",
     CADENCE_SCHEMA,
     0},
};

const struct node_query *node_queries(size_t *n)
{
    *n = ARRAY_LEN(queries);
    return queries;
}

/* Labels of a row, from its l_ columns: name, value, ..., NULL. Returns how many strings. */
static size_t row_labels(const PGresult *result, int row, const char *pairs[])
{
    size_t n = 0;
    for (int col = 0; col < PQnfields(result) && n < 2 * ROW_LABELS_MAX; col++) {
        const char *name = PQfname(result, col);
        if (!str_starts(name, LABEL_PREFIX))
            continue;
        pairs[n++] = name + strlen(LABEL_PREFIX);
        pairs[n++] = PQgetvalue(result, row, col);
    }
    return n;
}

/* Cuts `metric|a=b|c=d` into metric and pairs; text is changed in place. */
static void split_column(char *text, const char *pairs[], size_t n)
{
    char *bar = strchr(text, '|');
    while (bar != NULL && n < 2 * ROW_LABELS_MAX) {
        *bar = '\0';
        char *name = bar + 1;
        bar = strchr(name, '|');
        char *equals = strchr(name, '=');
        if (equals == NULL)
            break;
        *equals = '\0';
        pairs[n++] = name;
        pairs[n++] = equals + 1;
    }
    pairs[n] = NULL;
}

static void row_samples(struct batch_builder *builder, const PGresult *result, int row)
{
    const char *pairs[2 * ROW_LABELS_MAX + 3];
    size_t labels = row_labels(result, row, pairs);
    for (int col = 0; col < PQnfields(result); col++) {
        char column[COLUMN_NAME_MAX];
        double value;
        if (str_starts(PQfname(result, col), LABEL_PREFIX) || PQgetisnull(result, row, col) ||
            !str_parse_double(PQgetvalue(result, row, col), &value))
            continue;
        str_copy(column, sizeof(column), PQfname(result, col));
        split_column(column, pairs, labels);
        batch_add(builder, column, value, pairs);
    }
}

void node_query_samples(struct batch_builder *builder, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result) && row < ROWS_MAX; row++)
        row_samples(builder, result, row);
}
