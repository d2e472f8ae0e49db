/*
 * serve.h: the HTTP side (libmicrohttpd): /metrics, the gate's paths, the API, the page.
 *
 * Threads of its own; never computes for others and never asks the engine or the gate: it reads
 * snapshots (batch.h), the board (board.h), the alert list (alert.h) on its loop, and the head and
 * history.db in query workers. Listens on config.listen and on the socket api.sock. Every request
 * has a total deadline; sizes and connections are limited. Routes are one table
 * (agent/serve/routes.c), Prometheus' API another (agent/serve/api_v1.c).
 */
#ifndef PGVIGIL_SERVE_SERVE_H
#define PGVIGIL_SERVE_SERVE_H

#include "pgvigil/gate/board.h"
#include "pgvigil/model/alert.h"
#include "pgvigil/model/batch.h"
#include "pgvigil/model/config.h"
#include "pgvigil/model/rule_report.h"
#include "pgvigil/store/head.h"

#define SERVE_CONNECTIONS_MAX    512
#define SERVE_CONNECTIONS_PER_IP 64
#define SERVE_DEADLINE_MS        10000
#define SERVE_BODY_MAX           (64 * 1024)

struct serve;

struct serve_opts {
    struct config *config; /* a reference is taken */
    struct board *board;
    struct snapshots *snapshots;
    struct alert_board *alerts;
    struct rule_board *rules;
    struct head *head;        /* what the API reads; outlives serve. May be NULL */
    const char *history_path; /* and what is older; may be NULL */
    const char *version;
    const char *api_socket; /* path, or NULL */
};

struct serve *serve_create(const struct serve_opts *opts, struct err *err) MUST_CHECK;
void serve_destroy(struct serve **serve);
void serve_reconfigure(struct serve *serve, struct config *config);
/* READY: the engine has polled once (/-/ready is 200 from then on). Any thread. */
void serve_set_ready(struct serve *serve);
/* Port that was bound (listen with port 0, tests). */
int serve_port(const struct serve *serve);

struct serve_stats {
    uint64_t requests_total, refused_total;
    const struct hist *request_time;
};
void serve_stats(const struct serve *serve, struct serve_stats *out);

#endif
