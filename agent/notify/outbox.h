/*
 * outbox.h: deliveries that wait to be sent, in order per group, two in flight at once.
 *
 * Rows come in by outbox_add and may be sent after outbox_release (their transaction was committed,
 * or waiting for it was given up). A delivery that failed stays first of its group and is tried
 * again later; others go on. What happened is recorded in alerts.db.
 */
#ifndef AGENT_NOTIFY_OUTBOX_H
#define AGENT_NOTIFY_OUTBOX_H

#include "pgvigil/notify/notify.h"

#define OUTBOX_IN_FLIGHT_MAX  2
#define OUTBOX_BACKOFF_MAX_MS (5 * 60 * 1000)

struct outbox;
struct delivery;

struct outbox *outbox_create(struct loop *loop, struct alerts_db *db);
void outbox_destroy(struct outbox **outbox);
/* client is borrowed until the next call or outbox_destroy; url "" = keep and do not send. */
void outbox_target(struct outbox *outbox, struct http_client *client, const char *url);
/* Takes over row->body. */
struct delivery *outbox_add(struct outbox *outbox, const struct outbox_row *row);
void outbox_release(struct outbox *outbox, struct delivery *d, bool durable);
void outbox_stats(const struct outbox *outbox, wall_ms now, struct notify_stats *out);

#endif
