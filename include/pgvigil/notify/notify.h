/*
 * notify.h: from a change of an alert to a delivered message: groups, outbox, sender.
 *
 * The engine gives every change of a turn, then calls notify_flush: alert states and outbox rows
 * are committed as one transaction (alerts_db.h); only then is the alert shown (on_committed) and
 * the message sent. If the commit fails or takes over 2 s, it is sent from memory with the same
 * webhook-id, `durable=false`. At least once, in order per group, retried with backoff and jitter
 * (cap 5 min), Retry-After honoured, kept for 72 h, two in flight per receiver. Engine thread.
 *
 * notify.webhook gets what a person should hear of now: alerts of severity info are for the report
 * and Watchdog (severity none) is for the watchdog's receiver, so neither is sent there nor
 * repeated. Both are stored and shown like all others.
 *
 * Alerts are grouped by cluster, pool and replica; the body is Alertmanager's webhook version 4
 * with the headers webhook-id and webhook-timestamp of Standard Webhooks.
 */
#ifndef PGVIGIL_NOTIFY_NOTIFY_H
#define PGVIGIL_NOTIFY_NOTIFY_H

#include "pgvigil/base/http_client.h"
#include "pgvigil/model/alert.h"
#include "pgvigil/model/config.h"
#include "pgvigil/store/alerts_db.h"

#define NOTIFY_COMMIT_WAIT_MS 2000
#define NOTIFY_BODY_MAX       (4 * 1024 * 1024)

struct notify;

struct notify_opts {
    struct loop *loop;
    struct alerts_db *db;
    const struct config *config; /* webhook, outgoing, external labels; read now */
    const char *external_url;    /* of the agent's page, for the body */
    /* What was flushed is durable (or was given up waiting for): show it. Once for each flush that
     * returned true, in their order. */
    void (*on_committed)(void *arg);
    void *arg;
};

struct notify_stats {
    uint64_t delivered_total, failed_attempts_total, not_durable_total;
    size_t outbox_depth;
    int64_t oldest_ms; /* age of the oldest undelivered; 0 if none */
};

struct notify *notify_create(const struct notify_opts *opts, struct err *err) MUST_CHECK;
void notify_destroy(struct notify **notify);
/* A receiver with another URL is told what fires, by the next flush. */
bool notify_reconfigure(struct notify *notify, const struct config *config,
                        struct err *err) MUST_CHECK;
/* What the last run left undelivered, and the alerts that fire, before the first change. */
void notify_restore(struct notify *notify, const struct alerts_image *image, struct now now);
void notify_change(struct notify *notify, const struct alert *alert, enum alert_state from);
/* true: something was flushed, on_committed follows; false: nothing had changed. */
bool notify_flush(struct notify *notify, struct now now);
void notify_stats(const struct notify *notify, struct now now, struct notify_stats *out);

#endif
