/*
 * missing.c: rules without series: a selector that finds nothing although its source is configured
 * makes a rule that can never fire, and nobody notices. What may rightly be absent must not be
 * told, or every small installation would carry a list of false alarms. So nothing is missing
 *  - if the last evaluation gave a result: one way of an `or` is enough;
 *  - if the metric's collector is configured for no target, or has not had three intervals yet;
 *  - if the collector answers and the selector names nothing but the metric: there is no replica,
 * no slot, nothing to measure. A selector that names one (slot="x") asks for that one;
 *  - if only a label that changes with time (state="diverged") finds nothing;
 *  - if a rule of the set records the metric and gives nothing now: that rule is looked at itself.
 * Everything else is: a metric that nobody knows, a label value that no series has, a collector
 * that gives nothing. Looking waits a minute after the first evaluations of all groups, takes one
 * rule for each tick so that no turn grows, and is repeated each minute.
 */
#include "rules_private.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/metrics.h"
#include "pgvigil/promql/selector.h"

#define LATE_INTERVALS 3

struct look {
    struct rules *r;
    struct now now;
    char *missing; /* of RULE_TEXT_MAX: the first selector that finds nothing, and why */
};

/* ---- what is there ---- */

static bool any_series(struct look *l, const struct promql_selected *s)
{
    const struct read_request req = {
        .matchers = s->matchers,
        .matcher_count = s->n,
        .regex_match = s->regex_match,
        .t_min = INT64_MIN,
        .t_max = l->now.wall.ms,
        .last_only = true, /* costs no decoding */
        .labels_only = true,
        .max_points = SIZE_MAX,
    };
    struct reader *reader = l->r->opts.reader;
    struct read_result found;
    struct err err;
    /* what cannot be looked up is not missing */
    return !reader->select(reader, &req, l->r->arena, &found, &err) || found.n > 0;
}

static bool any_of_name(struct look *l, const char *name)
{
    const struct matcher m = {.op = MATCH_EQ, .name = LABEL_METRIC, .value = name};
    return any_series(l, &(struct promql_selected){.matchers = &m, .n = 1});
}

/* The label's value changes while the thing that it tells about stays the same. */
static bool label_varies(const char *name)
{
    static const char *const names[] = {"state", "role",  "reason", "outcome",
                                        "bound", "class", "kind",   "alertstate"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

/* The selector without labels that vary. */
static struct promql_selected without_varying(struct look *l, const struct promql_selected *s)
{
    struct matcher *kept = arena_alloc_array(l->r->arena, s->n, sizeof(*kept));
    struct promql_selected out = {kept, 0, s->regex_match};
    for (size_t i = 0; i < s->n; i++)
        if (!label_varies(s->matchers[i].name))
            kept[out.n++] = s->matchers[i];
    return out;
}

/* Does it ask for something by its name, beside the metric? */
static bool names_something(const struct promql_selected *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct matcher *m = &s->matchers[i];
        bool positive = m->op == MATCH_EQ ? *m->value != '\0' : m->op == MATCH_RE;
        if (positive && !str_eq(m->name, LABEL_METRIC) && !label_varies(m->name))
            return true;
    }
    return false;
}

/* ---- the collector of a metric ---- */

struct collector {
    const char *name;
    bool configured, answers;
    int64_t interval_ms;
    char error[200], target[64];
};

static void see_source(const struct source_state *st, void *arg)
{
    struct collector *c = arg;
    if (!st->configured || !str_eq(st->collector, c->name))
        return;
    c->configured = true;
    c->interval_ms = i64_max(c->interval_ms, st->interval_ms);
    if (!st->failing && wall_is_set(st->last_good)) {
        c->answers = true;
    } else {
        str_copy(c->error, sizeof(c->error), *st->error != '\0' ? st->error : "no answer yet");
        str_copy(c->target, sizeof(c->target), st->target);
    }
}

/* What no target feeds comes from the agent itself. */
static bool is_own(const char *collector)
{
    return str_eq(collector, "self") || str_eq(collector, "rules") || str_eq(collector, "gate");
}

static struct collector collector_of(const struct look *l, const char *name)
{
    struct collector c = {.name = name};
    if (is_own(name))
        c.configured = c.answers = true;
    else
        sources_each(l->r->opts.sources, see_source, &c);
    return c;
}

/* ---- rules of the set ---- */

static bool any_rule(const struct rules *r, bool is_alert, const char *name)
{
    for (size_t g = 0; g < r->count; g++) {
        for (size_t i = 0; i < r->groups[g].group->count; i++) {
            const struct rule *rule = r->groups[g].runs[i].rule;
            if (rule->is_alert == is_alert && str_eq(rule->name, name))
                return true;
        }
    }
    return false;
}

/* Alerts come and go; only one that no rule can give is missing. */
static const char *unknown_alert(const struct rules *r, const struct promql_selected *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->matchers[i].op == MATCH_EQ && str_eq(s->matchers[i].name, "alertname") &&
            !any_rule(r, true, s->matchers[i].value))
            return s->matchers[i].value;
    }
    return NULL;
}

static const char *nearest_name(const struct rules *r, const char *name)
{
    size_t known, n = 0, room = 0;
    const struct metric_info *all = metric_info_all(&known);
    for (size_t g = 0; g < r->count; g++)
        room += r->groups[g].group->count;
    const char **names = arena_alloc_array(r->arena, known + room, sizeof(*names));
    for (size_t i = 0; i < known; i++)
        names[n++] = all[i].name;
    for (size_t g = 0; g < r->count; g++) {
        for (size_t i = 0; i < r->groups[g].group->count; i++)
            if (!r->groups[g].group->rules[i].is_alert)
                names[n++] = r->groups[g].group->rules[i].name;
    }
    return str_nearest(name, names, n);
}

/* ---- one selector ---- */

/* Where the agent knows a gauge, an application may export a histogram of the same name. */
static const struct metric_info *known_metric(struct arena *arena, const char *name)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    const struct metric_info *info = metric_info_find(name);
    size_t n = strlen(name);
    for (size_t i = 0; info == NULL && i < ARRAY_LEN(suffixes); i++) {
        size_t tail = strlen(suffixes[i]);
        if (n > tail && str_eq(name + n - tail, suffixes[i]))
            info = metric_info_find(arena_strndup(arena, name, n - tail));
    }
    return info;
}

/* NULL: nothing is missing. */
static const char *why_unknown(const struct look *l, const char *name)
{
    if (any_rule(l->r, false, name))
        return NULL;
    const char *nearest = nearest_name(l->r, name);
    if (nearest == NULL)
        return "nobody knows this metric";
    return arena_printf(l->r->arena, "nobody knows this metric, did you mean \"%s\"?", nearest);
}

static const char *why_empty(const struct look *l, const struct metric_info *info,
                             const struct promql_selected *s)
{
    struct collector c = collector_of(l, info->collector);
    if (!c.configured || mono_diff(l->now.mono, l->r->settled) < LATE_INTERVALS * c.interval_ms)
        return NULL;
    if (!c.answers)
        return arena_printf(l->r->arena, "collector %s of %s gives nothing: %s", c.name, c.target,
                            c.error);
    return names_something(s) ? "no series has these labels" : NULL;
}

static const char *why_missing(struct look *l, const struct promql_selected *s)
{
    const char *name = matchers_metric(s->matchers, s->n);
    if (any_series(l, s))
        return NULL;
    if (name == NULL)
        return "no series has these labels";
    const struct metric_info *info = known_metric(l->r->arena, name);
    if (info != NULL && str_eq(info->collector, "rules")) {
        const char *alert = unknown_alert(l->r, s);
        return alert == NULL ? NULL
                             : arena_printf(l->r->arena, "no rule gives the alert \"%s\"", alert);
    }
    if (any_of_name(l, name)) {
        struct promql_selected steady = without_varying(l, s);
        return any_series(l, &steady) ? NULL : "no series has these labels";
    }
    return info != NULL ? why_empty(l, info, s) : why_unknown(l, name);
}

static void print_selector(const struct promql_selected *s, struct buf *out)
{
    static const char *const ops[] = {
        [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~"};
    const char *name = matchers_metric(s->matchers, s->n), *between = "{";
    buf_add_str(out, name != NULL ? name : "");
    for (size_t i = 0; i < s->n; i++) {
        const struct matcher *m = &s->matchers[i];
        if (m->value == name)
            continue;
        buf_printf(out, "%s%s%s", between, m->name, ops[m->op]);
        buf_add_json(out, m->value);
        between = ",";
    }
    buf_add_str(out, *between == ',' ? "}" : "");
}

static void look_at_selector(const struct promql_selected *s, void *arg)
{
    struct look *l = arg;
    const char *why = *l->missing == '\0' ? why_missing(l, s) : NULL;
    struct buf text;
    if (why == NULL)
        return;
    buf_init(&text, RULE_TEXT_MAX - 1); /* a long selector is cut: the reason comes first */
    buf_printf(&text, "%s: ", why);
    print_selector(s, &text);
    str_copy(l->missing, RULE_TEXT_MAX, text.data);
    buf_deinit(&text);
}

/* ---- one rule ---- */

static void tell(const struct group_run *group, const struct rule_run *run, bool was_missing)
{
    char file[300], group_name[200], name[200], quoted[2 * RULE_TEXT_MAX];
    log_quote(file, sizeof(file), group->group->file);
    log_quote(group_name, sizeof(group_name), group->group->name);
    log_quote(name, sizeof(name), run->rule->name);
    if (run->missing[0] == '\0' && was_missing)
        log_info("rule has its series now file=%s group=%s rule=%s", file, group_name, name);
    else if (run->missing[0] != '\0' && !was_missing)
        log_warn("rule without series file=%s group=%s rule=%s why=%s", file, group_name, name,
                 log_quote(quoted, sizeof(quoted), run->missing));
}

static void look_at_rule(struct rules *r, const struct group_run *group, struct rule_run *run,
                         struct now now)
{
    struct look l = {.r = r, .now = now, .missing = run->missing};
    bool was_missing = run->missing[0] != '\0';
    run->look_at = mono_add(now.mono, RULES_LOOK_EVERY_MS);
    run->missing[0] = '\0';
    arena_reset(r->arena);
    if (!run->had_result)
        promql_each_selected(run->rule->expr, look_at_selector, &l);
    tell(group, run, was_missing);
}

/* The next rule behind the last one; NULL if there is none. */
static struct rule_run *step(struct rules *r)
{
    if (r->look_group < r->count && ++r->look_rule < r->groups[r->look_group].group->count)
        return &r->groups[r->look_group].runs[r->look_rule];
    r->look_rule = 0;
    for (size_t i = 0; i < r->count; i++) {
        r->look_group = r->look_group + 1 < r->count ? r->look_group + 1 : 0;
        if (r->groups[r->look_group].group->count > 0)
            return &r->groups[r->look_group].runs[0];
    }
    return NULL;
}

void rules_look(struct rules *r, struct now now)
{
    size_t n = 0;
    if (r->opts.sources == NULL || !mono_is_set(r->settled) ||
        mono_diff(now.mono, r->settled) < RULES_LOOK_AFTER_MS)
        return;
    for (size_t g = 0; g < r->count; g++)
        n += r->groups[g].group->count;
    while (n-- > 0) {
        struct rule_run *run = step(r);
        if (mono_is_set(run->look_at) && mono_before(now.mono, run->look_at))
            continue;
        look_at_rule(r, &r->groups[r->look_group], run, now);
        return;
    }
}

void rules_each_missing(const struct rules *r,
                        void (*fn)(const char *file, const char *group, const char *rule,
                                   void *arg),
                        void *arg)
{
    for (size_t g = 0; g < r->count; g++) {
        const struct group_run *group = &r->groups[g];
        for (size_t i = 0; i < group->group->count; i++)
            if (group->runs[i].missing[0] != '\0')
                fn(group->group->file, group->group->name, group->runs[i].rule->name, arg);
    }
}
