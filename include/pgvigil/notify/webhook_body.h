/*
 * webhook_body.h: Alertmanager's webhook body, version 4. Pure.
 */
#ifndef PGVIGIL_NOTIFY_WEBHOOK_BODY_H
#define PGVIGIL_NOTIFY_WEBHOOK_BODY_H

#include "pgvigil/base/buf.h"
#include "pgvigil/model/alert.h"

struct webhook_group {
    const char *receiver;
    const char *group_key; /* {}:{cluster="main", replica="pg2"} */
    struct labels group_labels;
    const char *external_url;
    const struct alert *const *alerts; /* firing and resolved, by startsAt then fingerprint */
    size_t n;
};

/* status is "firing" while any alert fires. endsAt of a firing alert is 0001-01-01T00:00:00Z. */
void webhook_body(const struct webhook_group *group, struct buf *out);

#endif
