/*
 * api_rules.c: /api/v1/rules. Definitions and last runs come from the rule report, alerts and the
 * state that follows from them from the alert list, so that no alert is told here before its
 * commit.
 */
#include "api_v1.h"

#include "api_params.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"

struct filter {
    const struct params *params;
    bool only_alerts, only_records, without_alerts;
    struct matcher_sets match;
    int64_t group_limit; /* 0 = all */
    const char *token;   /* of the group to begin with; NULL = the first */
    const struct alert_list *alerts;
    uint64_t until_ns;
    struct err *doubt; /* a selector whose regex gave up may have hidden rules */
};

/* Regexes are matched on the HTTP loop, where the gate's answers wait meanwhile. */
#define MATCHING_MAX_NS UINT64_C(50000000)

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
    bool match = f->match.n == 0;
    if (!match && f->doubt->kind == ERR_NONE && clock_stage_ns() > f->until_ns)
        err_set(f->doubt, ERR_TIMEOUT, "matching of selectors takes too long");
    for (size_t i = 0; !match && i < f->match.n; i++) {
        size_t n;
        matcher_regex_fn regex;
        const struct matcher *m = promql_selector(f->match.v[i], &n, &regex);
        if (f->doubt->kind != ERR_NONE || !matchers_match(m, n, regex, labels, &match, f->doubt))
            return false;
    }
    return match;
}

static bool rule_wanted(const struct filter *f, const struct rule_shown *rule)
{
    if (rule->is_alert ? f->only_records : f->only_alerts)
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

/* A key that Prometheus does not have and its readers skip: the rule works, but not as meant. */
static void add_warnings(struct buf *out, const struct rule_shown *rule)
{
    const char *const texts[] = {rule->missing, rule->note};
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i] == NULL || *texts[i] == '\0')
            continue;
        buf_add_str(out, any ? "," : ",\"warnings\":[");
        buf_add_json(out, texts[i]);
        any = true;
    }
    buf_add_str(out, any ? "]" : "");
}

static void add_rule(struct buf *out, const struct filter *f, const struct rule_group_shown *group,
                     const struct rule_shown *rule)
{
    bool ran = wall_is_set(rule->run_at);
    buf_add_str(out, "{\"name\":");
    buf_add_json(out, rule->name);
    buf_add_str(out, ",\"query\":");
    buf_add_json(out, rule->query);
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
    add_warnings(out, rule);
    add_run(out, rule->run_ns, rule->run_at);
    buf_printf(out, ",\"type\":\"%s\"}", rule->is_alert ? "alerting" : "recording");
}

/* A group is left out if the filter leaves none of its rules. */
static bool group_wanted(const struct filter *f, const struct rule_group_shown *group)
{
    bool any = group->n == 0;
    if (!is_wanted(f->params, "rule_group[]", group->name) ||
        !is_wanted(f->params, "file[]", group->file))
        return false;
    for (size_t i = 0; i < group->n && !any; i++)
        any = rule_wanted(f, &group->rules[i]);
    return any;
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

/* ---- parameters ---- */

static bool read_type(struct filter *f, struct reply *reply)
{
    const char *type = api_given(f->params, "type");
    if (type == NULL)
        return true;
    f->only_alerts = strcasecmp(type, "alert") == 0;
    f->only_records = strcasecmp(type, "record") == 0;
    return f->only_alerts || f->only_records ||
           api_refuse(reply, "type", "not supported value \"%.100s\"", type);
}

static bool read_exclude_alerts(struct filter *f, struct reply *reply)
{
    static const char *const yes[] = {"1", "t", "true"}, *const no[] = {"0", "f", "false"};
    const char *text = api_given(f->params, "exclude_alerts");
    for (size_t i = 0; text != NULL && i < ARRAY_LEN(yes); i++) {
        f->without_alerts = f->without_alerts || strcasecmp(text, yes[i]) == 0;
        if (f->without_alerts || strcasecmp(text, no[i]) == 0)
            return true;
    }
    return text == NULL ||
           api_refuse(reply, "exclude_alerts",
                      "error converting exclude_alerts: strconv.ParseBool: parsing \"%.100s\": "
                      "invalid syntax",
                      text);
}

static bool read_page(struct filter *f, struct reply *reply)
{
    const char *limit = api_given(f->params, "group_limit");
    f->token = api_given(f->params, "group_next_token");
    if (limit == NULL && f->token != NULL) {
        return api_refuse(reply, "group_next_token",
                          "group_limit needs to be present in order to paginate over the groups");
    }
    if (limit == NULL)
        return true;
    if (!str_parse_i64(limit, INT32_MIN, INT32_MAX, &f->group_limit)) {
        return api_refuse(reply, "group_limit",
                          "group_limit needs to be a valid number: strconv.ParseInt: parsing "
                          "\"%.100s\": invalid syntax",
                          limit);
    }
    return f->group_limit > 0 ||
           api_refuse(reply, "group_limit", "group_limit needs to be greater than 0");
}

static bool read_filter(struct filter *f, struct reply *reply)
{
    return read_type(f, reply) && api_match(f->params, false, reply, &f->match) &&
           read_exclude_alerts(f, reply) && read_page(f, reply);
}

/* ---- groups and their order ---- */

#define TOKEN_MAX 33

/* Names a group for as long as it is there, whatever becomes of the others. */
static const char *group_token(const struct rule_group_shown *group, char out[TOKEN_MAX])
{
    uint64_t file = str_hash(group->file, strlen(group->file) + 1, STR_HASH_SEED);
    uint64_t name = str_hash(group->name, strlen(group->name), file);
    snprintf(out, TOKEN_MAX, "%016llx%016llx", (unsigned long long)file, (unsigned long long)name);
    return out;
}

static int by_file_and_name(const void *a, const void *b)
{
    const struct rule_group_shown *x = *(const struct rule_group_shown *const *)a;
    const struct rule_group_shown *y = *(const struct rule_group_shown *const *)b;
    int c = strcmp(x->file, y->file);
    return c != 0 ? c : strcmp(x->name, y->name);
}

/* All groups in Prometheus' order; mem_free. */
static const struct rule_group_shown **sorted_groups(const struct rule_report *report)
{
    const struct rule_group_shown **groups = mem_alloc_array(report->n + 1, sizeof(*groups));
    for (size_t i = 0; i < report->n; i++)
        groups[i] = &report->groups[i];
    qsort(groups, report->n, sizeof(*groups), by_file_and_name);
    return groups;
}

/* Where the page begins; n if the token names no group. */
static size_t page_start(const struct filter *f, const struct rule_group_shown *const *groups,
                         size_t n)
{
    char token[TOKEN_MAX];
    size_t i = 0;
    while (f->token != NULL && i < n && !str_eq(f->token, group_token(groups[i], token)))
        i++;
    return i;
}

static void add_page(struct buf *out, const struct filter *f,
                     const struct rule_group_shown *const *groups, size_t n)
{
    char token[TOKEN_MAX] = "";
    int64_t given = 0;
    buf_add_str(out, "{\"status\":\"success\",\"data\":{\"groups\":[");
    for (size_t g = 0; g < n; g++) {
        if (!group_wanted(f, groups[g]))
            continue;
        if (f->group_limit > 0 && given == f->group_limit) {
            group_token(groups[g], token);
            break;
        }
        buf_add_str(out, given++ > 0 ? "," : "");
        add_group(out, f, groups[g]);
    }
    buf_add_char(out, ']');
    if (*token != '\0')
        buf_printf(out, ",\"groupNextToken\":\"%s\"", token);
    buf_add_str(out, "}}");
}

void api_rules(const struct request *req, struct reply *reply)
{
    struct err doubt = {0};
    struct filter f = {
        .params = req->connection, .until_ns = clock_stage_ns() + MATCHING_MAX_NS, .doubt = &doubt};
    if (read_filter(&f, reply)) {
        struct rule_report *report = rule_board_get(req->from->rules);
        struct alert_list *alerts = alert_board_get(req->from->alerts);
        const struct rule_group_shown **groups = sorted_groups(report);
        size_t start = page_start(&f, groups, report->n);
        f.alerts = alerts;
        if (f.token != NULL && start == report->n) {
            api_refuse(reply, "group_next_token",
                       "invalid group_next_token '%.100s'. were rule groups changed?", f.token);
        } else {
            add_page(&reply->body, &f, groups + start, report->n - start);
            if (doubt.kind != ERR_NONE)
                api_fail(reply, API_EXECUTION, "%s", doubt.text);
        }
        mem_free(groups);
        alert_list_unref(alerts);
        rule_report_unref(report);
    }
    api_match_free(&f.match);
}
