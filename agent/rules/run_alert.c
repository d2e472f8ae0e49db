/*
 * run_alert.c: what the result of an alerting rule becomes: alerts with labels and annotations,
 * seen by their life (life.c), and the series ALERTS and ALERTS_FOR_STATE. All alerts are built
 * before the first is shown to its life, because two that have become the same, or one too many,
 * are an error of the whole run.
 */
#include "rules_private.h"

#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

#define ALERT_LABELS_MAX (LABELS_MAX - 2) /* beside name and alertstate of its series */

/* ---- `query` of templates ---- */

#define QUERY_SAMPLES_MAX 20000000 /* of all templates of one run; some tenths of a second */

struct querying {
    struct rules *r;
    const struct group_run *group;
};

/* Results point into the expression and its scratch memory. */
static void keep_result(const struct promql_value *from, struct arena *arena,
                        struct promql_value *to)
{
    *to = (struct promql_value){.type = from->type, .t = from->t, .scalar = from->scalar};
    if (from->type != PROMQL_VECTOR)
        return;
    to->n = from->n;
    to->vector = arena_alloc_array(arena, from->n, sizeof(*to->vector));
    for (size_t i = 0; i < from->n; i++)
        to->vector[i] = (struct promql_sample){labels_copy(arena, &from->vector[i].labels),
                                               from->vector[i].value};
}

/* Hundreds of alerts may ask, each for much: their run has one budget of samples, and what one
 * query needed is not held for the next. */
static bool run_query(const char *text, struct arena *arena, struct promql_value *out,
                      struct err *err, void *arg)
{
    const struct querying *q = arg;
    struct rules *r = q->r;
    struct promql_limits limits = rule_limits(r);
    struct promql_value value;
    struct promql_error parse_err;
    struct promql_expr *expr = promql_parse(text, &parse_err);
    if (expr == NULL)
        return err_set(err, ERR_INVALID, "%s", parse_err.text);
    if (limits.max_samples > r->query_samples_left)
        limits.max_samples = r->query_samples_left;
    arena_reset(r->query_arena);
    bool ok = promql_instant(expr, r->opts.reader, q->group->began.wall.ms, &limits, r->query_arena,
                             &value, err);
    if (ok) {
        r->query_samples_left -= value.samples;
        keep_result(&value, arena, out);
    }
    promql_destroy(&expr);
    return ok;
}

/* ---- building alerts ---- */

/* Labels of the alert: the sample's without its name, the rule's over them, alertname, external. */
static struct labels alert_labels(struct rules *r, const struct rule *rule,
                                  const struct labels *sample, const struct template_data *data)
{
    struct label *pairs = arena_alloc_array(r->arena, PAIRS_MAX, sizeof(*pairs));
    size_t n = 0;
    for (size_t i = 0; i < sample->n; i++)
        if (!str_eq(sample->v[i].name, LABEL_METRIC))
            put_pair(pairs, &n, sample->v[i].name, sample->v[i].value);
    for (size_t i = 0; i < rule->label_count; i++)
        put_pair(pairs, &n, rule->labels[i].name,
                 template_expand(rule->label_templates[i], data, r->arena));
    put_pair(pairs, &n, "alertname", rule->name);
    struct labels so_far = {n, pairs};
    for (size_t i = 0; !r->opts.like_promtool && i < r->external.n; i++)
        if (labels_get(&so_far, r->external.v[i].name) == NULL)
            put_pair(pairs, &n, r->external.v[i].name, r->external.v[i].value);
    return (struct labels){labels_sort(pairs, n), pairs};
}

static struct labels alert_annotations(struct rules *r, const struct rule *rule,
                                       const struct template_data *data)
{
    struct label *pairs = arena_alloc_array(r->arena, rule->annotation_count + 1, sizeof(*pairs));
    for (size_t i = 0; i < rule->annotation_count; i++)
        pairs[i] = (struct label){rule->annotations[i].name,
                                  template_expand(rule->annotation_templates[i], data, r->arena)};
    return (struct labels){rule->annotation_count, pairs};
}

static struct alert build_alert(struct rules *r, const struct group_run *group,
                                const struct rule_run *run, const struct promql_sample *sample)
{
    struct querying querying = {r, group};
    const struct template_data data = {
        .labels = &sample->labels,
        .external_labels = &r->external,
        .external_url = r->opts.external_url != NULL ? r->opts.external_url : "",
        .value = sample->value,
        .t = group->began.wall.ms,
        .query = run_query,
        .arg = &querying,
    };
    struct alert alert = {
        .labels = alert_labels(r, run->rule, &sample->labels, &data),
        .annotations = alert_annotations(r, run->rule, &data),
        .value = sample->value,
        .active_at = group->began.wall,
        .fired_at = WALL_UNSET,
        .resolved_at = WALL_UNSET,
        .keep_until = WALL_UNSET,
        .group = run->life.group,
        .rule = run->rule->name,
        .expr = run->rule->expr_text,
        .reason = "",
    };
    alert.fingerprint = labels_fingerprint(&alert.labels);
    return alert;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool are_unique(struct rules *r, const struct alert *alerts, size_t n)
{
    uint64_t *prints = arena_alloc_array(r->arena, n, sizeof(*prints));
    for (size_t i = 0; i < n; i++)
        prints[i] = alerts[i].fingerprint;
    qsort(prints, n, sizeof(*prints), by_number);
    for (size_t i = 1; i < n; i++)
        if (prints[i - 1] == prints[i])
            return false;
    return true;
}

/* ---- their series ---- */

static void add_alert_series(struct rules *r, const struct alert *a)
{
    const char *pairs[2 * (LABELS_MAX + 2)];
    size_t n = 0;
    for (size_t i = 0; i < a->labels.n && i < LABELS_MAX; i++) {
        pairs[n++] = a->labels.v[i].name;
        pairs[n++] = a->labels.v[i].value;
    }
    pairs[n] = NULL;
    batch_add(r->builder, "ALERTS_FOR_STATE", (double)a->active_at.ms / 1000, pairs);
    if (a->state == ALERT_FIRING && !r->opts.like_promtool)
        batch_add(r->builder, "pgvigil_alert_firing", 1, pairs);
    pairs[n++] = "alertstate";
    pairs[n++] = a->state == ALERT_FIRING ? "firing" : "pending";
    pairs[n] = NULL;
    batch_add(r->builder, "ALERTS", 1, pairs);
}

static void send_alert_series(struct rules *r, const struct group_run *group, struct rule_run *run)
{
    static const char *const none[] = {NULL};
    if (run->life.instances == NULL && !run->had_samples)
        return;
    batch_begin(r->builder, run->source, group_sample_time(group), none);
    for (struct life_instance *in = run->life.instances; in != NULL; in = in->hh.next)
        if (in->alert->state == ALERT_PENDING || in->alert->state == ALERT_FIRING)
            add_alert_series(r, in->alert);
    rules_send_batch(r, run);
}

/* ---- the run ---- */

/* Over the limit nothing of the rule is known: its alerts end, as in Prometheus. */
static bool check_limit(struct rules *r, const struct group_run *group, struct rule_run *run,
                        const struct alert *alerts, size_t n, struct err *err)
{
    int limit = group->group->limit;
    size_t active = limit > 0 ? life_active_after(&run->life, alerts, n, group->began) : 0;
    if (active <= (size_t)limit)
        return true;
    life_resolve_all(&run->life, "limit", group->began);
    send_alert_series(r, group, run);
    return err_set(err, ERR_LIMIT, "exceeded limit of %d with %zu alerts", limit, active);
}

static bool apply(struct rules *r, const struct group_run *group, struct rule_run *run,
                  const struct alert *alerts, size_t n, struct err *err)
{
    if (!are_unique(r, alerts, n)) {
        return err_set(err, ERR_INVALID,
                       "vector contains metrics with the same labelset after applying alert "
                       "labels");
    }
    if (!check_limit(r, group, run, alerts, n, err))
        return false;
    life_begin(&run->life, rule_lacks_input(r, run), group->began);
    for (size_t i = 0; i < n; i++)
        life_seen(&run->life, &alerts[i], group->began);
    life_end(&run->life, group->began);
    send_alert_series(r, group, run);
    return true;
}

bool run_alert(struct rules *r, const struct group_run *group, struct rule_run *run,
               const struct promql_value *value, struct err *err)
{
    struct promql_sample scalar;
    size_t n;
    const struct promql_sample *samples = value_samples(value, &scalar, &n);
    if (n > ALERTS_PER_RULE_MAX)
        return err_set(err, ERR_LIMIT, "more than %d alerts", ALERTS_PER_RULE_MAX);
    struct alert *alerts = arena_alloc_array(r->arena, n, sizeof(*alerts));
    bool ok = true;
    r->query_samples_left = QUERY_SAMPLES_MAX;
    for (size_t i = 0; i < n && ok; i++) {
        alerts[i] = build_alert(r, group, run, &samples[i]);
        ok = fit_labels(&alerts[i].labels, ALERT_LABELS_MAX, err);
    }
    return ok && apply(r, group, run, alerts, n, err);
}
