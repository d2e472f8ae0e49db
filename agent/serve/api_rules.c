/*
 * api_rules.c: /api/v1/rules. Definitions and last runs come from the rule report, alerts and the
 * state that follows from them from the alert list, so that no alert is told here before its
 * commit.
 */
#include "api_v1.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"

struct filter {
    const struct params *params;
    const char *type; /* "alert", "record", or NULL */
    bool without_alerts;
    struct promql_expr *match[QUERY_MATCHERS_MAX];
    size_t match_count;
    const struct alert_list *alerts;
};

/* Is the value one of the parameters of this name, or is there none? */
static bool is_wanted(const struct params *p, const char *name, const char *value)
{
    bool any = false;
    for (size_t i = 0; i < p->n; i++) {
        if (!str_eq(p->v[i].name, name))
            continue;
        if (str_eq(p->v[i].value, value))
            return true;
        any = true;
    }
    return !any;
}

static bool labels_match(const struct filter *f, const struct labels *labels)
{
    for (size_t i = 0; i < f->match_count; i++) {
        size_t n;
        matcher_regex_fn regex;
        const struct matcher *m = promql_selector(f->match[i], &n, &regex);
        if (matchers_match(m, n, regex, labels))
            return true;
    }
    return f->match_count == 0;
}

static bool rule_wanted(const struct filter *f, const struct rule_shown *rule)
{
    if (f->type != NULL && rule->is_alert != str_eq(f->type, "alert"))
        return false;
    return is_wanted(f->params, "rule_name[]", rule->name) && labels_match(f, &rule->labels);
}

static bool is_of(const struct alert *a, const struct rule_group_shown *group,
                  const struct rule_shown *rule)
{
    return (a->state == ALERT_FIRING || a->state == ALERT_PENDING) && str_eq(a->rule, rule->name) &&
           str_eq(a->group, group->name) && str_eq(a->expr, rule->expr);
}

static void add_run(struct buf *out, int64_t run_ns, wall_ms run_at)
{
    char text[CLOCK_RFC3339_MAX];
    buf_add_str(out, ",\"evaluationTime\":");
    buf_add_double(out, (double)run_ns / 1e9);
    buf_printf(out, ",\"lastEvaluation\":\"%s\"",
               wall_is_set(run_at) ? clock_format_rfc3339(run_at, text) : "0001-01-01T00:00:00Z");
}

static void add_seconds(struct buf *out, const char *key, int64_t ms)
{
    buf_printf(out, ",\"%s\":", key);
    buf_add_double(out, (double)ms / 1000);
}

static void add_alerts(struct buf *out, const struct filter *f,
                       const struct rule_group_shown *group, const struct rule_shown *rule)
{
    bool first = true;
    buf_add_str(out, ",\"alerts\":[");
    for (size_t i = 0; !f->without_alerts && i < f->alerts->n; i++) {
        if (!is_of(f->alerts->alerts[i], group, rule))
            continue;
        buf_add_str(out, first ? "" : ",");
        first = false;
        api_add_alert(out, f->alerts->alerts[i]);
    }
    buf_add_char(out, ']');
}

static const char *state_of(const struct filter *f, const struct rule_group_shown *group,
                            const struct rule_shown *rule)
{
    const char *state = wall_is_set(rule->run_at) ? "inactive" : "unknown";
    for (size_t i = 0; i < f->alerts->n; i++) {
        const struct alert *a = f->alerts->alerts[i];
        if (!is_of(a, group, rule))
            continue;
        if (a->state == ALERT_FIRING)
            return "firing";
        state = "pending";
    }
    return state;
}

static void add_rule(struct buf *out, const struct filter *f, const struct rule_group_shown *group,
                     const struct rule_shown *rule)
{
    bool ran = wall_is_set(rule->run_at);
    buf_add_str(out, "{\"name\":");
    buf_add_json(out, rule->name);
    buf_add_str(out, ",\"query\":");
    buf_add_json(out, rule->expr);
    buf_add_str(out, ",\"labels\":");
    labels_print_json(&rule->labels, out);
    if (rule->is_alert) {
        buf_printf(out, ",\"state\":\"%s\"", state_of(f, group, rule));
        add_seconds(out, "duration", rule->for_ms);
        add_seconds(out, "keepFiringFor", rule->keep_firing_ms);
        buf_add_str(out, ",\"annotations\":");
        labels_print_json(&rule->annotations, out);
        add_alerts(out, f, group, rule);
    }
    buf_printf(out, ",\"health\":\"%s\"", !ran ? "unknown" : *rule->error != '\0' ? "err" : "ok");
    if (*rule->error != '\0') {
        buf_add_str(out, ",\"lastError\":");
        buf_add_json(out, rule->error);
    }
    add_run(out, rule->run_ns, rule->run_at);
    buf_printf(out, ",\"type\":\"%s\"}", rule->is_alert ? "alerting" : "recording");
}

static size_t count_wanted(const struct filter *f, const struct rule_group_shown *group)
{
    size_t n = 0;
    if (!is_wanted(f->params, "rule_group[]", group->name) ||
        !is_wanted(f->params, "file[]", group->file))
        return 0;
    for (size_t i = 0; i < group->n; i++)
        n += rule_wanted(f, &group->rules[i]);
    return n;
}

static void add_group(struct buf *out, const struct filter *f, const struct rule_group_shown *group)
{
    bool first = true;
    buf_add_str(out, "{\"name\":");
    buf_add_json(out, group->name);
    buf_add_str(out, ",\"file\":");
    buf_add_json(out, group->file);
    add_seconds(out, "interval", group->interval_ms);
    buf_printf(out, ",\"limit\":%d", group->limit);
    add_run(out, group->run_ns, group->run_at);
    buf_add_str(out, ",\"rules\":[");
    for (size_t i = 0; i < group->n; i++) {
        if (!rule_wanted(f, &group->rules[i]))
            continue;
        buf_add_str(out, first ? "" : ",");
        first = false;
        add_rule(out, f, group, &group->rules[i]);
    }
    buf_add_str(out, "]}");
}

static bool read_match(struct filter *f, const char *text, struct reply *reply)
{
    struct promql_error err;
    matcher_regex_fn regex;
    size_t n;
    if (f->match_count == QUERY_MATCHERS_MAX) {
        api_fail(reply, API_BAD_DATA, "invalid parameter \"match[]\": too many selectors");
        return false;
    }
    struct promql_expr *expr = promql_parse(text, &err);
    if (expr == NULL) {
        api_fail(reply, API_BAD_DATA, "invalid parameter \"match[]\": %s", err.text);
        return false;
    }
    f->match[f->match_count++] = expr;
    if (promql_selector(expr, &n, &regex) != NULL)
        return true;
    api_fail(reply, API_BAD_DATA,
             "invalid parameter \"match[]\": 1:1: parse error: a selector is wanted");
    return false;
}

static bool read_filter(struct filter *f, struct reply *reply)
{
    const char *type = params_get(f->params, "type");
    f->type = type != NULL && *type != '\0' ? type : NULL;
    if (f->type != NULL && !str_eq(type, "alert") && !str_eq(type, "record")) {
        api_fail(reply, API_BAD_DATA, "invalid parameter \"type\": not supported value \"%.100s\"",
                 type);
        return false;
    }
    const char *without = params_get(f->params, "exclude_alerts");
    f->without_alerts = without != NULL && (str_eq(without, "true") || str_eq(without, "1"));
    for (size_t i = 0; i < f->params->n; i++)
        if (str_eq(f->params->v[i].name, "match[]") && !read_match(f, f->params->v[i].value, reply))
            return false;
    return true;
}

void api_rules(const struct request *req, struct reply *reply)
{
    struct buf *out = &reply->body;
    struct filter f = {.params = req->connection};
    bool first = true;
    if (read_filter(&f, reply)) {
        struct rule_report *report = rule_board_get(req->from->rules);
        struct alert_list *alerts = alert_board_get(req->from->alerts);
        f.alerts = alerts;
        buf_add_str(out, "{\"status\":\"success\",\"data\":{\"groups\":[");
        for (size_t g = 0; g < report->n; g++) {
            if (count_wanted(&f, &report->groups[g]) == 0)
                continue;
            buf_add_str(out, first ? "" : ",");
            first = false;
            add_group(out, &f, &report->groups[g]);
        }
        buf_add_str(out, "]}}");
        alert_list_unref(alerts);
        rule_report_unref(report);
    }
    for (size_t i = 0; i < f.match_count; i++)
        promql_destroy(&f.match[i]);
}
