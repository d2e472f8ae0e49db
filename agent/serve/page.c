/*
 * The status page: plain HTML that works without script and reloads itself. Verdict first, then
 * what fires, then nodes and pools. State is told in words, colour only repeats them; what is not
 * known is never green. Every text from outside goes through buf_add_html.
 */
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "serve_private.h"

static const char style[] =
#include "style_css.h"
    ;

#define RELOAD_S 5

void page_style(const struct request *req, struct reply *reply)
{
    (void)req;
    buf_add_str(&reply->body, style);
}

struct overview {
    struct verdict *nodes;
    size_t node_count;
    struct cluster_verdict *clusters;
    size_t cluster_count;
    struct alert_list *alerts;
    size_t firing, critical, down, unknown, out;
};

static void count(struct overview *o)
{
    for (size_t i = 0; i < o->alerts->n; i++) {
        const struct alert *a = o->alerts->alerts[i];
        if (a->state != ALERT_FIRING || !alert_counts(a))
            continue;
        o->firing++;
        o->critical += str_eq(labels_get_or_empty(&a->labels, "severity"), "critical");
    }
    for (size_t i = 0; i < o->node_count; i++) {
        o->down += !o->nodes[i].up;
        o->unknown += o->nodes[i].role == ROLE_UNKNOWN;
        o->out += o->nodes[i].role == ROLE_REPLICA && o->nodes[i].read_config && !o->nodes[i].read;
    }
}

static void add_verdict(struct buf *out, const struct overview *o, const struct request *req)
{
    struct now ticked = board_ticked_at(req->from->board);
    bool stale = !mono_is_set(ticked.mono) ||
                 mono_diff(req->from->now.mono, ticked.mono) > req->from->config->gate.lease_ms;
    const char *tone = "ok";
    struct buf text;
    buf_init(&text, 1024);
    if (stale || !req->from->ready) {
        tone = "warn";
        buf_add_str(&text, stale ? "The gate has not decided lately: nothing here is current."
                                 : "Starting: not everything has been polled yet.");
    } else if (o->critical > 0 || o->down > 0) {
        tone = "bad";
        buf_printf(&text, "Trouble: %zu critical alert%s, %zu of %zu nodes down.", o->critical,
                   o->critical == 1 ? "" : "s", o->down, o->node_count);
    } else if (o->firing > 0 || o->unknown > 0 || o->out > 0) {
        tone = "warn";
        buf_printf(&text,
                   "Look: %zu alert%s firing, %zu of %zu nodes never seen, %zu out of reads.",
                   o->firing, o->firing == 1 ? "" : "s", o->unknown, o->node_count, o->out);
    } else {
        buf_printf(&text, "All %zu nodes answer and nothing fires.", o->node_count);
    }
    buf_printf(out, "<p class=\"verdict %s\"><strong>%s</strong></p>\n", tone, text.data);
    buf_deinit(&text);
}

static void add_cell(struct buf *out, const char *text)
{
    buf_add_str(out, "<td>");
    buf_add_html(out, text);
    buf_add_str(out, "</td>");
}

static void add_alerts(struct buf *out, const struct overview *o)
{
    char since[CLOCK_RFC3339_MAX];
    bool any = false;
    buf_add_str(out, "<h2 id=\"alerts\">Alerts</h2>\n");
    for (size_t i = 0; i < o->alerts->n; i++) {
        const struct alert *a = o->alerts->alerts[i];
        if (a->state != ALERT_FIRING && a->state != ALERT_PENDING)
            continue;
        if (!any)
            buf_add_str(out, "<div class=\"scroll\"><table><thead><tr><th>State</th><th>Severity"
                             "</th><th>Alert</th><th>Summary</th><th>Since</th></tr></thead>\n");
        any = true;
        const char *severity = labels_get_or_empty(&a->labels, "severity");
        const char *tone =
            a->state == ALERT_FIRING && str_eq(severity, "critical") ? "bad" : "warn";
        if (!alert_counts(a))
            tone = "ok";
        buf_printf(out, "<tr><td class=\"%s\">%s%s</td>", tone, alert_state_name(a->state),
                   a->held ? " (held: input missing)" : "");
        add_cell(out, severity);
        add_cell(out, a->rule);
        add_cell(out, labels_get_or_empty(&a->annotations, "summary"));
        add_cell(out, clock_format_rfc3339(a->active_at, since));
        buf_add_str(out, "</tr>\n");
    }
    buf_add_str(out, any ? "</table></div>\n" : "<p>Nothing fires.</p>\n");
}

/* Rules that can never fire as they are: who looks for an alert must see why there is none. */
static void add_rules(struct buf *out, const struct request *req)
{
    struct rule_report *report = rule_board_get(req->from->rules);
    bool any = false;
    for (size_t g = 0; g < report->n; g++) {
        for (size_t i = 0; i < report->groups[g].n; i++) {
            const struct rule_shown *rule = &report->groups[g].rules[i];
            if (rule->missing == NULL || *rule->missing == '\0')
                continue;
            if (!any) {
                buf_add_str(out, "<h2 id=\"rules\">Rules without series</h2>\n"
                                 "<div class=\"scroll\"><table><thead><tr><th>Rule</th><th>Group"
                                 "</th><th>File</th><th>What is missing</th></tr></thead>\n");
            }
            any = true;
            buf_add_str(out, "<tr>");
            add_cell(out, rule->name);
            add_cell(out, report->groups[g].name);
            add_cell(out, report->groups[g].file);
            add_cell(out, rule->missing);
            buf_add_str(out, "</tr>\n");
        }
    }
    buf_add_str(out, any ? "</table></div>\n" : "");
    rule_report_unref(report);
}

static void add_seconds(struct buf *out, int64_t ms)
{
    if (ms == LAG_UNKNOWN || ms == LAG_INFINITE)
        buf_add_str(out, "<td class=\"num\">?</td>");
    else
        buf_printf(out, "<td class=\"num\">%.2f s</td>", (double)ms / 1000);
}

static const char *state_tone(const struct verdict *v)
{
    if (!v->up || v->state == FRESH_DOWN || v->state == FRESH_DIVERGED)
        return "bad";
    if (v->role == ROLE_PRIMARY || v->state == FRESH_FRESH)
        return "ok";
    return "warn";
}

static void add_node(struct buf *out, const struct verdict *v)
{
    char seen[CLOCK_RFC3339_MAX];
    buf_add_str(out, "<tr>");
    add_cell(out, v->node);
    add_cell(out, node_role_name(v->role));
    buf_printf(out, "<td class=\"%s\">%s</td>", state_tone(v),
               !v->up                    ? "down"
               : v->role == ROLE_PRIMARY ? "up"
                                         : fresh_state_name(v->state));
    if (v->role == ROLE_REPLICA) {
        add_seconds(out, v->lag_ms);
    } else {
        buf_add_str(out, "<td class=\"num\">-</td>");
    }
    buf_printf(out, "<td>%s%s</td><td>%s</td>", v->read ? "yes" : "no",
               v->fallback ? " (fallback)" : "", v->write ? "yes" : "no");
    buf_add_str(out, "<td>");
    buf_add_html(out, v->reason);
    if (*v->evidence != '\0') {
        buf_add_str(out, "<br><span class=\"small\">");
        buf_add_html(out, v->evidence);
        buf_add_str(out, "</span>");
    }
    buf_add_str(out, "</td>");
    add_cell(out, wall_is_set(v->read_at) ? clock_format_rfc3339(v->read_at, seen) : "never");
    buf_add_str(out, "</tr>\n");
}

static void add_nodes(struct buf *out, const struct overview *o)
{
    buf_add_str(out, "<h2 id=\"nodes\">Nodes</h2>\n<div class=\"scroll\"><table><thead><tr>"
                     "<th>Node</th><th>Role</th><th>State</th><th class=\"num\">Data lag</th>"
                     "<th>Reads</th><th>Writes</th><th>Reason</th><th>Last answer</th></tr>"
                     "</thead>\n");
    for (size_t i = 0; i < o->node_count; i++)
        add_node(out, &o->nodes[i]);
    buf_add_str(out, "</table></div>\n");
}

static double pool_value(const struct batch *b, const struct series *like, const char *metric,
                         const char *state)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct series *s = b->samples[i].series;
        if (str_eq(s->name, metric) && str_eq(labels_get_or_empty(&s->labels, "state"), state) &&
            str_eq(labels_get_or_empty(&s->labels, "database"),
                   labels_get_or_empty(&like->labels, "database")) &&
            str_eq(labels_get_or_empty(&s->labels, "user"),
                   labels_get_or_empty(&like->labels, "user")))
            return b->samples[i].value;
    }
    return -1;
}

static void add_pool_row(struct buf *out, const struct batch *b, const struct series *s)
{
    double share = pool_value(b, s, "db_connection_pool_utilization", "");
    buf_add_str(out, "<tr>");
    add_cell(out, labels_get_or_empty(&s->labels, "pool"));
    add_cell(out, labels_get_or_empty(&s->labels, "database"));
    add_cell(out, labels_get_or_empty(&s->labels, "user"));
    if (share >= 0) {
        buf_printf(out, "<td class=\"num %s\">%.0f %%</td>",
                   share > 0.95  ? "bad"
                   : share > 0.9 ? "warn"
                                 : "ok",
                   share * 100);
    } else {
        buf_add_str(out, "<td class=\"num\">no limit</td>");
    }
    buf_printf(out,
               "<td class=\"num\">%.0f</td><td class=\"num\">%.0f</td><td class=\"num\">%.0f</td>"
               "<td class=\"num\">%.2f s</td></tr>\n",
               pool_value(b, s, "db_connection_pool_size", "active"),
               pool_value(b, s, "db_connection_pool_size", "idle"),
               pool_value(b, s, "db_connection_pool_size", "waiting"),
               pool_value(b, s, "db_connection_pool_wait_time_seconds", ""));
}

static void add_pools(struct buf *out, const struct request *req)
{
    size_t n;
    bool any = false;
    struct batch **batches = snapshots_get(req->from->snapshots, &n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < batches[i]->n; k++) {
            const struct series *s = batches[i]->samples[k].series;
            if (!str_eq(s->name, "db_connection_pool_wait_time_seconds"))
                continue;
            if (!any) {
                buf_add_str(out, "<h2 id=\"pools\">Pools</h2>\n<div class=\"scroll\"><table><thead>"
                                 "<tr><th>Pool</th><th>Database</th><th>User</th>"
                                 "<th class=\"num\">Busy</th><th class=\"num\">Active</th>"
                                 "<th class=\"num\">Idle</th><th class=\"num\">Waiting</th>"
                                 "<th class=\"num\">Wait</th></tr></thead>\n");
            }
            any = true;
            add_pool_row(out, batches[i], s);
        }
        batch_unref(batches[i]);
    }
    if (any)
        buf_add_str(out, "</table></div>\n");
    mem_free(batches);
}

static void add_clusters(struct buf *out, const struct overview *o)
{
    for (size_t i = 0; i < o->cluster_count; i++) {
        const struct cluster_verdict *c = &o->clusters[i];
        const char *note = c->split_brain        ? "two writable nodes: split brain"
                           : c->blind            ? "no node answers this agent: verdicts are held"
                           : c->primary_unseen   ? "the primary does not answer this agent"
                           : c->reads_on_primary ? "no replica is fit: reads go to the primary"
                                                 : NULL;
        if (note == NULL)
            continue;
        buf_add_str(out, "<p class=\"warn\">Cluster ");
        buf_add_html(out, *c->cluster != '\0' ? c->cluster : "(unnamed)");
        buf_printf(out, ": %s.</p>\n", note);
    }
}

void page_overview(const struct request *req, struct reply *reply)
{
    struct buf *out = &reply->body;
    char at[CLOCK_RFC3339_MAX];
    struct overview o = {.alerts = alert_board_get(req->from->alerts)};
    o.node_count = board_nodes(req->from->board, &o.nodes);
    o.cluster_count = board_clusters(req->from->board, &o.clusters);
    count(&o);
    buf_printf(out,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
               "<meta http-equiv=\"refresh\" content=\"%d\"><title>%s%spgvigil</title>"
               "<link rel=\"icon\" href=\"data:,\">"
               "<link rel=\"stylesheet\" href=\"/ui/style.css\"></head><body>\n<h1>pgvigil",
               RELOAD_S, o.firing > 0 ? "(!) " : "", "");
    if (*req->from->config->cluster != '\0') {
        buf_add_str(out, " &middot; ");
        buf_add_html(out, req->from->config->cluster);
    }
    buf_add_str(out, "</h1>\n");
    add_verdict(out, &o, req);
    add_clusters(out, &o);
    add_alerts(out, &o);
    add_rules(out, req);
    add_nodes(out, &o);
    add_pools(out, req);
    buf_printf(out,
               "<p class=\"small\">As of %s. Also: <a href=\"/metrics\">metrics</a>, "
               "<a href=\"/api/v1/alerts\">alerts</a>, <a href=\"/api/pgvigil/gate\">gate</a>."
               "</p>\n</body></html>\n",
               clock_format_rfc3339(req->from->now.wall, at));
    mem_free(o.nodes);
    mem_free(o.clusters);
    alert_list_unref(o.alerts);
}
