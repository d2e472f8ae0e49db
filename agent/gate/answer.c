/*
 * answer.c: what the gate says over HTTP: Patroni's paths, so that checks move over unchanged.
 *
 * Two differences from Patroni, both on purpose: an unreadable parameter is 400 and an unknown lag
 * is 503, where Patroni says 200 and so lets a typing mistake or a lost leader pass as healthy.
 * Invariant: 200 is given only for what the gate has published; the parameters can only narrow it.
 */
#include "pgvigil/gate/answer.h"

#include <inttypes.h>

#include "pgvigil/base/str.h"
#include "pgvigil/gate/lsn.h"

enum { STATUS_OK = 200, STATUS_BAD = 400, STATUS_UNKNOWN = 404, STATUS_NO = 503 };

/* What a query asks for, read. */
struct bounds {
    bool has_lag, has_max_lag, has_min_lsn, needs_streaming;
    int64_t lag_bytes, max_lag_ms;
    lsn_t min_lsn;
};

bool answer_path(const char *path, enum answer_kind *kind)
{
    static const struct {
        const char *path;
        enum answer_kind kind;
    } paths[] = {
        {"/primary", ANSWER_PRIMARY},     {"/leader", ANSWER_PRIMARY},
        {"/master", ANSWER_PRIMARY},      {"/read-write", ANSWER_PRIMARY},
        {"/replica", ANSWER_REPLICA},     {"/read-only", ANSWER_READ_ONLY},
        {"/health", ANSWER_HEALTH},       {"/liveness", ANSWER_LIVENESS},
        {"/readiness", ANSWER_READINESS},
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (str_eq(path, paths[i].path)) {
            *kind = paths[i].kind;
            return true;
        }
    }
    return false;
}

/* ---- reading the query ---- */

/* Bytes, or with Patroni's (PostgreSQL's) units, which are powers of 1024; or KiB and so on. */
static bool parse_lag(const char *text, int64_t *bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    char digits[20];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof(digits))
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    if (text[n] == '\0')
        return str_parse_i64(digits, 0, INT64_MAX, bytes);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!str_eq(text + n, units[i]))
            continue;
        int64_t value = 0;
        if (!str_parse_i64(digits, 0, INT64_MAX >> (10 * i), &value))
            return false;
        *bytes = value << (10 * i);
        return true;
    }
    return str_parse_size(text, bytes);
}

/* Name of the first parameter that cannot be read, or NULL. */
static const char *read_bounds(const struct answer_query *q, struct bounds *b)
{
    *b = (struct bounds){.has_lag = q->lag != NULL,
                         .has_max_lag = q->max_lag != NULL,
                         .has_min_lsn = q->min_lsn != NULL,
                         .needs_streaming = q->replication_state != NULL};
    if (b->has_lag && !parse_lag(q->lag, &b->lag_bytes))
        return "lag";
    if (b->has_max_lag && !str_parse_duration(q->max_lag, &b->max_lag_ms))
        return "max_lag";
    if (b->has_min_lsn && !lsn_parse(q->min_lsn, &b->min_lsn))
        return "min_lsn";
    if (b->needs_streaming && !str_eq(q->replication_state, "streaming"))
        return "replication_state";
    return NULL;
}

static const char *example_of(const char *parameter)
{
    if (str_eq(parameter, "lag"))
        return "16MB";
    if (str_eq(parameter, "max_lag"))
        return "10s";
    return str_eq(parameter, "min_lsn") ? "0/5A3C2D8" : "streaming";
}

/* ---- which node ---- */

static const struct verdict *by_name(const char *name, const struct verdict *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(nodes[i].node, name))
            return &nodes[i];
    }
    return NULL;
}

/* The one that is local, or the only one; NULL when that is not clear. */
static const struct verdict *local_one(const struct verdict *nodes, size_t n)
{
    const struct verdict *found = n == 1 ? &nodes[0] : NULL;
    size_t locals = 0;
    for (size_t i = 0; i < n; i++) {
        if (!nodes[i].local)
            continue;
        found = &nodes[i];
        locals++;
    }
    return locals <= 1 ? found : NULL;
}

static int refuse_unclear(const struct verdict *nodes, size_t n, struct buf *body)
{
    buf_add_str(body, "{\"error\": \"which node is meant is not clear: add ?node=NAME\", "
                      "\"nodes\": [");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_str(body, ", ");
        buf_add_json(body, nodes[i].node);
    }
    buf_add_str(body, "]}\n");
    return STATUS_BAD;
}

static int refuse_node(const char *name, struct buf *body)
{
    char text[NODE_NAME_MAX + 40];
    (void)snprintf(text, sizeof(text), "no node is named \"%.*s\"", NODE_NAME_MAX, name);
    buf_add_str(body, "{\"error\": ");
    buf_add_json(body, text);
    buf_add_str(body, "}\n");
    return STATUS_UNKNOWN;
}

/* ---- yes or no ---- */

static bool is_within(const struct verdict *v, const struct bounds *b)
{
    if (v->role != ROLE_REPLICA)
        return true;
    if (b->has_lag && (v->lag_bytes == LAG_UNKNOWN || v->lag_bytes > b->lag_bytes))
        return false;
    if (b->has_max_lag && (v->lag_ms == LAG_UNKNOWN || v->lag_ms > b->max_lag_ms))
        return false;
    if (b->has_min_lsn && v->lsn < b->min_lsn)
        return false;
    return !b->needs_streaming || v->streaming;
}

static bool is_up(const struct verdict *v)
{
    return v->up && wall_is_set(v->read_at);
}

static bool is_yes(enum answer_kind kind, const struct verdict *v, const struct bounds *b)
{
    switch (kind) {
    case ANSWER_PRIMARY:
        return v->write;
    case ANSWER_REPLICA:
        return v->role == ROLE_REPLICA && v->read && is_within(v, b);
    case ANSWER_READ_ONLY:
        return (v->read || v->write) && is_within(v, b);
    case ANSWER_HEALTH:
        return is_up(v);
    case ANSWER_LIVENESS:
        return true;
    case ANSWER_READINESS:
        return is_up(v) && (v->role == ROLE_PRIMARY || v->read) && is_within(v, b);
    }
    return false;
}

/* ---- the body ---- */

static void add_seconds(struct buf *body, const char *key, int64_t ms)
{
    if (ms == LAG_UNKNOWN || ms == LAG_INFINITE)
        buf_printf(body, ", \"%s\": null", key);
    else
        buf_printf(body, ", \"%s\": %.3f", key, (double)ms / 1000);
}

static void add_text(struct buf *body, const char *key, const char *text)
{
    buf_printf(body, ", \"%s\": ", key);
    buf_add_json(body, text);
}

static void add_bool(struct buf *body, const char *key, bool value)
{
    buf_printf(body, ", \"%s\": %s", key, value ? "true" : "false");
}

/* Patroni's word for the server. */
static const char *server_state(const struct verdict *v)
{
    if (v->cause == CAUSE_STARTING)
        return "starting";
    if (!v->up)
        return "stopped";
    return wall_is_set(v->read_at) ? "running" : "unknown";
}

static void add_position(struct buf *body, const struct verdict *v)
{
    char text[LSN_TEXT_MAX];
    if (v->role == ROLE_PRIMARY)
        buf_printf(body, ", \"xlog\": {\"location\": %" PRIu64 "}", v->lsn);
    else if (v->role == ROLE_REPLICA)
        buf_printf(body, ", \"xlog\": {\"replayed_location\": %" PRIu64 ", \"paused\": %s}", v->lsn,
                   v->replay_paused ? "true" : "false");
    if (v->streaming)
        add_text(body, "replication_state", "streaming");
    add_text(body, "lsn", lsn_format(v->lsn, text));
}

static void add_node(struct buf *body, const struct verdict *v)
{
    buf_add_str(body, "{\"state\": ");
    buf_add_json(body, server_state(v));
    add_text(body, "role", node_role_name(v->role));
    buf_printf(body, ", \"server_version\": %d, \"timeline\": %u", (int)v->server_version,
               (unsigned)v->timeline);
    add_position(body, v);
    add_text(body, "cluster", v->cluster);
    add_text(body, "node", v->node);
    add_text(body, "zone", v->zone);
    add_text(body, "freshness", fresh_state_name(v->state));
    add_text(body, "reason", v->reason);
    add_text(body, "cause", fresh_cause_name(v->cause));
    add_bool(body, "read", v->read);
    add_bool(body, "write", v->write);
    add_bool(body, "fallback", v->fallback);
    buf_printf(body, ", \"weight\": %d", v->weight);
    add_seconds(body, "lag_seconds", v->lag_ms);
    add_seconds(body, "lag_lo_seconds", v->lag_lo_ms);
    add_seconds(body, "lag_hi_seconds", v->lag_hi_ms);
    add_seconds(body, "wal_lag_seconds", v->wal_lag_ms);
    if (v->lag_bytes != LAG_UNKNOWN)
        buf_printf(body, ", \"lag_bytes\": %" PRId64, v->lag_bytes);
    add_text(body, "evidence", v->evidence);
}

int answer(const struct answer_query *query, const struct verdict *nodes, size_t n,
           int64_t ticked_age_ms, int64_t max_age_ms, struct buf *body)
{
    struct bounds bounds;
    const char *unreadable = read_bounds(query, &bounds);
    if (unreadable != NULL) {
        buf_printf(body, "{\"error\": \"'%s' cannot be read; an example is '%s'\"}\n", unreadable,
                   example_of(unreadable));
        return STATUS_BAD;
    }
    if (ticked_age_ms < 0 || ticked_age_ms > max_age_ms) {
        buf_add_str(body, "{\"error\": \"the gate has not decided for longer than its lease\"}\n");
        return STATUS_NO;
    }
    if (query->kind == ANSWER_LIVENESS && query->node == NULL) {
        buf_add_str(body, "{\"status\": 200}\n");
        return STATUS_OK;
    }
    const struct verdict *v =
        query->node != NULL ? by_name(query->node, nodes, n) : local_one(nodes, n);
    if (v == NULL)
        return query->node != NULL ? refuse_node(query->node, body)
                                   : refuse_unclear(nodes, n, body);
    bool is_here = query->zone == NULL || str_eq(query->zone, v->zone);
    int status = is_here && is_yes(query->kind, v, &bounds) ? STATUS_OK : STATUS_NO;
    add_node(body, v);
    buf_printf(body, ", \"status\": %d}\n", status);
    return status;
}
