/*
 * alerts_db.h: alerts.db: alert states, the outbox, the gate's memory. synchronous=FULL.
 *
 * Written by its own thread only. The engine collects changes in a struct alerts_tx and commits it:
 * state change and outbox row are one transaction. `done` comes back on the engine's loop after
 * the first attempt; a transaction that failed stays first in line and is tried again each second
 * until it succeeds, in order, so delivery from memory is recorded once the disk is back.
 * Tables: alerts, outbox, gate_nodes, gate_timeline, gate_flips, meta(boot_id, evaluated_at).
 */
#ifndef PGVIGIL_STORE_ALERTS_DB_H
#define PGVIGIL_STORE_ALERTS_DB_H

#include "pgvigil/base/hist.h"
#include "pgvigil/base/loop.h"
#include "pgvigil/model/alert.h"
#include "pgvigil/model/gate_report.h"

#define WEBHOOK_ID_MAX    40
#define RECEIVER_NAME_MAX 64
#define OUTBOX_KEEP_MS    INT64_C(259200000) /* 72 h */

struct outbox_row {
    char id[WEBHOOK_ID_MAX]; /* webhook-id: "msg_" + 32 hex digits; stable over retries */
    char receiver[RECEIVER_NAME_MAX];
    char group_key[33]; /* hash of the group, for order */
    int64_t seq;        /* grows; order per group */
    char *body;         /* what is sent */
    wall_ms created_at;
    wall_ms next_attempt_at;
    int attempts;
    char last_error[160];
};

struct alerts_db;
struct alerts_tx;

struct alerts_db_stats {
    bool degraded;
    char error[200];
    uint64_t commits_total, failures_total;
    size_t queued;
};

struct alerts_image {
    struct alert **alerts; /* pending and firing of the last run */
    size_t alert_count;
    struct outbox_row *outbox; /* not yet delivered, by seq */
    size_t outbox_count;
    int64_t next_seq;
    wall_ms evaluated_at; /* last time that the rules of the last run are known to have been
                             evaluated; WALL_UNSET = nobody knows */
    struct gate_image gate;
};
void alerts_image_free(struct alerts_image *image);

/*
 * Opens (makes, migrates) the file and reads what the last run left into *image, then starts the
 * thread. A file that cannot be used is set aside as *.corrupt-<time> if damaged; if nothing can be
 * opened the store runs in memory-only mode (degraded) and keeps trying. Never NULL.
 */
struct alerts_db *alerts_db_create(struct loop *loop, const char *path, const char *vfs,
                                   struct alerts_image *image);
/* Commits what is queued, waits at most 3 s, closes. No `done` is called any more. Loop thread. */
void alerts_db_destroy(struct alerts_db **db);
void alerts_db_stats(struct alerts_db *db, struct alerts_db_stats *out);
const struct hist *alerts_db_commit_time(const struct alerts_db *db);

struct alerts_tx *alerts_tx_create(void);
void alerts_tx_destroy(struct alerts_tx **tx);
bool alerts_tx_is_empty(const struct alerts_tx *tx);
/* Each copies what it is given. */
void alerts_tx_put_alert(struct alerts_tx *tx, const struct alert *a); /* by fingerprint */
void alerts_tx_drop_alert(struct alerts_tx *tx, uint64_t fingerprint);
void alerts_tx_put_outbox(struct alerts_tx *tx, const struct outbox_row *row); /* by id */
void alerts_tx_outbox_attempt(struct alerts_tx *tx, const char *id, int attempts,
                              wall_ms next_attempt_at, const char *error);
void alerts_tx_outbox_done(struct alerts_tx *tx, const char *id, wall_ms at);
void alerts_tx_put_gate_node(struct alerts_tx *tx, const struct gate_node_state *state);
void alerts_tx_put_gate_flip(struct alerts_tx *tx, const struct gate_flip *flip);
void alerts_tx_put_timeline(struct alerts_tx *tx, uint64_t system_id, uint32_t timeline,
                            const struct timeline_entry *entry, struct now now);
/* The rules were evaluated at this time: what is pending did not wait longer. */
void alerts_tx_put_evaluated(struct alerts_tx *tx, wall_ms at);
/*
 * Hands the transaction over. done may be NULL. One that holds only gate nodes, timeline entries
 * and evaluation times is refused (ERR_LIMIT) while thousands wait for a disk; others never are.
 */
void alerts_db_commit(struct alerts_db *db, struct alerts_tx **tx,
                      void (*done)(bool ok, const struct err *err, void *arg), void *arg);

/* ---- reading, for commands with the daemon down ---- */
bool alerts_db_read_flips(const char *path, wall_ms since, struct gate_flip **flips, size_t *n,
                          struct err *err) MUST_CHECK;

#endif
