/*
 * probe.h: the probe session of a node: one prepared statement, one round trip, one result struct.
 *
 * Role, LSNs, timeline, system identifier, snapshot, receiver state, replay pause and delay. Gate
 * thread. Needs pg_monitor only for the receiver's details; without it those fields stay unknown.
 */
#ifndef PGVIGIL_GATE_PROBE_H
#define PGVIGIL_GATE_PROBE_H

#include "pgvigil/model/config.h"
#include "pgvigil/model/gate_report.h"
#include "pgvigil/pg/conn.h"

/* What one probe of a node saw: plain data, the input of the judge. */
struct probe_result {
    bool answered;
    enum pg_failure failure; /* when not answered */
    mono_ms started, ended;  /* of the query (or of the attempt) */
    enum node_role role;     /* never ROLE_UNKNOWN when answered */
    int32_t server_version;
    uint64_t system_id;
    uint32_t timeline;   /* primary: of its WAL; replica: received, else of its checkpoint */
    lsn_t write, insert; /* primary; insert is normalised */
    uint64_t snap[2];    /* primary */
    bool has_replay;     /* replica: false where readers have no replay LSN (managed services) */
    lsn_t replay, receive;
    bool replay_paused;
    int64_t apply_delay_ms; /* recovery_min_apply_delay */
    int64_t replay_age_ms;  /* now() - pg_last_xact_replay_timestamp(), its clock; -1 = NULL */
    bool receiver_known;    /* pg_stat_wal_receiver could be read */
    bool streaming;         /* receiver process there with status streaming */
    lsn_t latest_end;       /* receiver's latest_end_lsn */
    int64_t receipt_age_ms; /* age of the last message, its clock; -1 = unknown */
    int64_t connections_used_permille; /* of max_connections less reserved; -1 = unknown */
    char sender_host[64];
    int sender_port;
};

struct probe;

struct probe_opts {
    const struct config_node *node;
    enum config_secret_modes secret_modes;
    int64_t timeout_ms;
    /* Called once for each probe_send that returned true, before or at the deadline. */
    void (*on_result)(const struct probe_result *result, void *arg);
    void *arg;
};

struct probe *probe_create(struct loop *loop, struct workers *workers,
                           const struct probe_opts *opts);
void probe_destroy(struct probe **probe);
/*
 * Sends the query. When the session is not there, on_result gets the failure at once (right after
 * this turn). false while the previous one is still running: the caller counts a skipped tick.
 */
bool probe_send(struct probe *probe);
const struct probe_stats *probe_stats(const struct probe *probe);

#endif
