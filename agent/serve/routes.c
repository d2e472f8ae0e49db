/*
 * The routes are one table; a handler reads snapshots and writes a buffer. The gate's paths come
 * first because balancers ask them each second.
 */
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/answer.h"

#include "negotiate.h"
#include "serve_private.h"

static void metrics(const struct request *req, struct reply *reply)
{
    size_t n;
    struct batch **batches = snapshots_get(req->from->snapshots, &n);
    enum expose_format format = negotiate_exposition(req->accept != NULL ? req->accept : "");
    reply->content_type = expose_content_type(format);
    expose(format, batches, n, &reply->body);
    for (size_t i = 0; i < n; i++)
        batch_unref(batches[i]);
    mem_free(batches);
}

static void healthy(const struct request *req, struct reply *reply)
{
    (void)req;
    buf_add_str(&reply->body, "pgvigil is Healthy.\n");
}

static void ready(const struct request *req, struct reply *reply)
{
    reply->status = req->from->ready ? 200 : 503;
    buf_add_str(&reply->body,
                req->from->ready ? "pgvigil is Ready.\n" : "pgvigil has not polled yet.\n");
}

static void gate_path(const struct request *req, enum answer_kind kind, struct reply *reply)
{
    struct verdict *nodes = NULL;
    size_t n = board_nodes(req->from->board, &nodes);
    struct now ticked = board_ticked_at(req->from->board);
    int64_t age =
        mono_is_set(ticked.mono) ? mono_diff(req->from->now.mono, ticked.mono) : INT64_MAX;
    struct answer_query query = {
        .kind = kind,
        .node = req->param(req, "node"),
        .zone = req->param(req, "zone"),
        .lag = req->param(req, "lag"),
        .max_lag = req->param(req, "max_lag"),
        .min_lsn = req->param(req, "min_lsn"),
        .replication_state = req->param(req, "replication_state"),
    };
    reply->content_type = "application/json";
    reply->status = answer(&query, nodes, n, age, req->from->config->gate.lease_ms, &reply->body);
    mem_free(nodes);
}

static const struct {
    const char *path;
    void (*run)(const struct request *req, struct reply *reply);
    const char *content_type;
} routes[] = {
    {"/metrics", metrics, EXPOSE_CONTENT_TYPE},
    {"/-/healthy", healthy, "text/plain; charset=utf-8"},
    {"/-/ready", ready, "text/plain; charset=utf-8"},
    {"/api/pgvigil/nodes", api_nodes, "application/json"},
    {"/api/pgvigil/gate", api_gate, "application/json"},
    {"/api/pgvigil/pools", api_pools, "application/json"},
    {"/", page_overview, "text/html; charset=utf-8"},
    {"/ui/style.css", page_style, "text/css; charset=utf-8"},
};

void route(const struct request *req, struct reply *reply)
{
    enum answer_kind kind;
    reply->status = 200;
    if (answer_path(req->path, &kind)) {
        gate_path(req, kind, reply);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!str_eq(routes[i].path, req->path))
            continue;
        reply->content_type = routes[i].content_type;
        routes[i].run(req, reply);
        return;
    }
    reply->status = 404;
    reply->content_type = "text/plain; charset=utf-8";
    buf_add_str(&reply->body, "404 page not found\n");
}
