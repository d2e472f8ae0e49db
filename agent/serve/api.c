/*
 * JSON answers: Prometheus' /api/v1/alerts, and the agent's own nodes, gate and pools, which carry
 * the same facts as the page. SI base units, RFC 3339 UTC; null where something is not known.
 */
#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "serve_private.h"

static void add_time(struct buf *out, wall_ms t)
{
    char text[CLOCK_RFC3339_MAX];
    if (wall_is_set(t))
        buf_printf(out, "\"%s\"", clock_format_rfc3339(t, text));
    else
        buf_add_str(out, "null");
}

/* The shortest exponent form that reads back the same, as Prometheus shows values of alerts. */
static void add_exponent(struct buf *out, double v)
{
    char text[40];
    double back;
    if (isnan(v) || isinf(v)) {
        buf_add_str(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 0; digits <= 16; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits, v);
        if (str_parse_double(text, &back) && back == v)
            break;
    }
    buf_add_str(out, text);
}

void api_add_alert(struct buf *out, const struct alert *a)
{
    buf_add_str(out, "{\"labels\":");
    labels_print_json(&a->labels, out);
    buf_add_str(out, ",\"annotations\":");
    labels_print_json(&a->annotations, out);
    buf_printf(out, ",\"state\":\"%s\",\"activeAt\":", alert_state_name(a->state));
    add_time(out, a->active_at);
    buf_add_str(out, ",\"value\":\"");
    add_exponent(out, a->value);
    buf_printf(out, "\"%s}", a->held ? ",\"held\":true" : "");
}

void api_alerts(const struct request *req, struct reply *reply)
{
    struct buf *out = &reply->body;
    struct alert_list *list = alert_board_get(req->from->alerts);
    bool first = true;
    buf_add_str(out, "{\"status\":\"success\",\"data\":{\"alerts\":[");
    for (size_t i = 0; i < list->n; i++) {
        const struct alert *a = list->alerts[i];
        if (a->state != ALERT_PENDING && a->state != ALERT_FIRING)
            continue;
        buf_add_str(out, first ? "" : ",");
        first = false;
        api_add_alert(out, a);
    }
    buf_add_str(out, "]}}");
    alert_list_unref(list);
}

/* ---- nodes and gate ---- */

static void add_seconds(struct buf *out, const char *key, int64_t ms)
{
    if (ms == LAG_UNKNOWN || ms == LAG_INFINITE)
        buf_printf(out, ",\"%s\":null", key);
    else
        buf_printf(out, ",\"%s\":%.3f", key, (double)ms / 1000);
}

static void add_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    buf_add_json(out, text);
}

static void add_bool(struct buf *out, const char *key, bool value)
{
    buf_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void add_node(struct buf *out, const struct verdict *v)
{
    buf_add_str(out, "{\"node\":");
    buf_add_json(out, v->node);
    add_text(out, "cluster", v->cluster);
    add_text(out, "zone", v->zone);
    add_text(out, "role", node_role_name(v->role));
    add_bool(out, "up", v->up);
    add_text(out, "state", fresh_state_name(v->state));
    add_text(out, "cause", fresh_cause_name(v->cause));
    add_text(out, "reason", v->reason);
    add_text(out, "evidence", v->evidence);
    add_bool(out, "read", v->read);
    add_bool(out, "write", v->write);
    add_bool(out, "fallback", v->fallback);
    buf_printf(out, ",\"weight_percent\":%d", v->weight);
    add_seconds(out, "lag_seconds", v->lag_ms);
    add_seconds(out, "lag_lo_seconds", v->lag_lo_ms);
    add_seconds(out, "lag_hi_seconds", v->lag_hi_ms);
    add_seconds(out, "wal_lag_seconds", v->wal_lag_ms);
    if (v->lag_bytes >= 0)
        buf_printf(out, ",\"lag_bytes\":%lld", (long long)v->lag_bytes);
    else
        buf_add_str(out, ",\"lag_bytes\":null");
    add_seconds(out, "max_lag_seconds", v->max_lag_ms);
    buf_printf(out, ",\"lsn\":\"%X/%X\",\"timeline\":%u,\"server_version\":%d",
               (unsigned)(v->lsn >> 32), (unsigned)v->lsn, v->timeline, v->server_version);
    buf_add_str(out, ",\"since\":");
    add_time(out, v->since);
    buf_add_str(out, ",\"last_answer\":");
    add_time(out, v->read_at);
    buf_add_char(out, '}');
}

static void add_nodes(struct buf *out, struct board *board)
{
    struct verdict *nodes = NULL;
    size_t n = board_nodes(board, &nodes);
    buf_add_str(out, "\"nodes\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_node(out, &nodes[i]);
    }
    buf_add_char(out, ']');
    mem_free(nodes);
}

void api_nodes(const struct request *req, struct reply *reply)
{
    buf_add_str(&reply->body, "{\"schema\":\"pgvigil.nodes/1\",");
    add_nodes(&reply->body, req->from->board);
    buf_add_char(&reply->body, '}');
}

void api_gate(const struct request *req, struct reply *reply)
{
    struct buf *out = &reply->body;
    struct cluster_verdict *clusters = NULL;
    size_t n = board_clusters(req->from->board, &clusters);
    buf_add_str(out, "{\"schema\":\"pgvigil.gate/1\",\"ticked_at\":");
    add_time(out, board_ticked_at(req->from->board).wall);
    buf_add_str(out, ",\"clusters\":[");
    for (size_t i = 0; i < n; i++) {
        const struct cluster_verdict *c = &clusters[i];
        buf_add_str(out, i > 0 ? ",{\"cluster\":" : "{\"cluster\":");
        buf_add_json(out, c->cluster);
        add_text(out, "scope", c->judged ? "cluster" : "node");
        add_text(out, "primary", c->primary);
        add_bool(out, "reads_on_primary", c->reads_on_primary);
        add_bool(out, "blind", c->blind);
        add_bool(out, "primary_unseen", c->primary_unseen);
        add_bool(out, "split_brain", c->split_brain);
        add_bool(out, "no_replicas", c->no_replicas);
        buf_printf(out, ",\"fresh_replicas\":%d,\"replicas\":%d", c->fresh_count, c->replica_count);
        add_text(out, "reason", c->reason);
        buf_add_char(out, '}');
    }
    buf_add_str(out, "],");
    add_nodes(out, req->from->board);
    buf_add_char(out, '}');
    mem_free(clusters);
}

/* ---- pools: the samples of the sources "<pool>/pools", as they are ---- */

static void add_sample(struct buf *out, const struct sample *s)
{
    buf_add_str(out, "{\"labels\":");
    labels_print_json(&s->series->labels, out);
    buf_add_str(out, ",\"value\":");
    if (isfinite(s->value))
        buf_add_double(out, s->value);
    else
        buf_add_str(out, "null");
    buf_add_char(out, '}');
}

void api_pools(const struct request *req, struct reply *reply)
{
    struct buf *out = &reply->body;
    size_t n;
    bool first = true;
    struct batch **batches = snapshots_get(req->from->snapshots, &n);
    buf_add_str(out, "{\"schema\":\"pgvigil.pools/1\",\"samples\":[");
    for (size_t i = 0; i < n; i++) {
        const char *slash = strrchr(batches[i]->source, '/');
        bool wanted = slash != NULL && (str_eq(slash, "/pools") || str_eq(slash, "/log"));
        for (size_t k = 0; wanted && k < batches[i]->n; k++) {
            if (!first)
                buf_add_char(out, ',');
            first = false;
            add_sample(out, &batches[i]->samples[k]);
        }
        batch_unref(batches[i]);
    }
    buf_add_str(out, "]}");
    mem_free(batches);
}
