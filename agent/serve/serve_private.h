/*
 * serve_private.h: one request as the routes see it.
 */
#ifndef AGENT_SERVE_PRIVATE_H
#define AGENT_SERVE_PRIVATE_H

#include "pgvigil/serve/serve.h"

/* Where the answers come from: snapshots of other stages, nothing that waits. */
struct serve_sources {
    struct config *config;
    struct board *board;
    struct snapshots *snapshots;
    struct alert_board *alerts;
    struct rule_board *rules;
    const char *version;
    bool ready;
    struct now now;
};

struct request {
    const struct serve_sources *from;
    const char *path;
    /* Value of a query parameter, or NULL. */
    const char *(*param)(const struct request *req, const char *name);
    void *connection;
    const char *accept; /* the header; NULL = none */
};

struct reply {
    int status;
    const char *content_type;
    bool gzip;         /* the body is compressed */
    const char *allow; /* with status 405; NULL = GET, HEAD, OPTIONS */
    struct buf body;
};

#define REPLY_MAX (32 * 1024 * 1024)

/* Answers any request of the table; unknown paths are 404. Allocates nothing but the body. */
void route(const struct request *req, struct reply *reply);

void page_overview(const struct request *req, struct reply *reply);
void page_style(const struct request *req, struct reply *reply);
/* One object of /api/v1/alerts. */
void api_add_alert(struct buf *out, const struct alert *a);
void api_alerts(const struct request *req, struct reply *reply);
void api_nodes(const struct request *req, struct reply *reply);
void api_gate(const struct request *req, struct reply *reply);
void api_pools(const struct request *req, struct reply *reply);

#endif
