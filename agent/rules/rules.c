/*
 * Groups run one after the other on the engine's thread, each on its own grid of the monotonic
 * clock; a run that comes late by more than an interval is skipped and counted, never made up for.
 * All rules of a group see one timestamp; what a rule produced is in the head before the next one
 * is evaluated. Evaluation goes into one arena that is reset for each rule, so a steady rule
 * allocates nothing. A rule that fails keeps its alerts as they are: an error is not recovery.
 */
#include "pgvigil/rules/rules.h"

#include "life.h"
#include "pgvigil/base/clock.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

#define ARENA_KEEP (64 * 1024)
#define ARENA_MAX  (64 * 1024 * 1024)
#define SLACK_MS   250 /* ticks come with a little jitter: one that is early by less is on time */

struct rule_run {
    const struct rule *rule;
    struct life life; /* alerts only */
    char source[BATCH_SOURCE_MAX];
    bool had_samples; /* the last batch was not empty: an empty one must follow */
    bool is_matched;  /* during a reload: its alerts have moved */
    char error[200];  /* of the last run, "" = ok */
    wall_ms run_at;   /* of the last run; WALL_UNSET = none */
    int64_t run_ns;   /* it took */
};

struct group_run {
    const struct rule_group *group;
    struct rule_run *runs;
    int64_t interval_ms;
    mono_ms next; /* MONO_UNSET: with the first tick */
    wall_ms run_at;
    int64_t run_ns;
};

struct rules {
    struct rules_opts opts;
    struct rule_set *set;
    struct group_run *groups;
    size_t count;
    struct arena *arena;
    struct batch_builder *builder;
    struct labels external;
    struct hist tick_time;
    struct rules_stats stats;
};

struct rules *rules_create(const struct rules_opts *opts)
{
    struct rules *r = mem_alloc(sizeof(*r));
    r->opts = *opts;
    struct label *external = mem_alloc_array(opts->external_label_count + 1, sizeof(*external));
    for (size_t i = 0; i < opts->external_label_count; i++)
        external[i] = (struct label){mem_strdup(opts->external_labels[i].name),
                                     mem_strdup(opts->external_labels[i].value)};
    r->external = (struct labels){opts->external_label_count, external};
    r->arena = arena_create(ARENA_KEEP, ARENA_MAX);
    r->builder = batch_builder_create(opts->series);
    return r;
}

static void free_groups(struct group_run *groups, size_t n)
{
    for (size_t g = 0; g < n; g++) {
        for (size_t i = 0; i < groups[g].group->count; i++)
            life_deinit(&groups[g].runs[i].life);
        mem_free(groups[g].runs);
    }
    mem_free(groups);
}

void rules_destroy(struct rules **rules)
{
    struct rules *r = *rules;
    if (r == NULL)
        return;
    free_groups(r->groups, r->count);
    rule_set_destroy(&r->set);
    for (size_t i = 0; i < r->external.n; i++) {
        mem_free((void *)(uintptr_t)r->external.v[i].name);
        mem_free((void *)(uintptr_t)r->external.v[i].value);
    }
    mem_free((void *)(uintptr_t)r->external.v);
    batch_builder_destroy(&r->builder);
    arena_destroy(&r->arena);
    MEM_FREE_NULL(rules);
}

/* ---- loading ---- */

static void init_group(struct rules *r, size_t index)
{
    struct group_run *run = &r->groups[index];
    const struct rule_group *group = &r->set->groups[index];
    /* names of groups are unique in a file only */
    unsigned file = (unsigned)str_hash(group->file, strlen(group->file), STR_HASH_SEED);
    run->group = group;
    run->interval_ms = group->interval_ms > 0 ? group->interval_ms : r->opts.evaluation_interval_ms;
    run->next = MONO_UNSET;
    run->run_at = WALL_UNSET;
    run->runs = mem_alloc_array(group->count, sizeof(*run->runs));
    for (size_t i = 0; i < group->count; i++) {
        run->runs[i].rule = &group->rules[i];
        run->runs[i].run_at = WALL_UNSET;
        snprintf(run->runs[i].source, BATCH_SOURCE_MAX, "rules/%08x.%.60s.%zu", file, group->name,
                 i);
        life_init(&run->runs[i].life, &r->opts, &group->rules[i], group->name);
    }
}

static struct group_run *find_group(struct rules *r, const struct rule_group *like)
{
    for (size_t g = 0; g < r->count; g++) {
        if (str_eq(r->groups[g].group->name, like->name) &&
            str_eq(r->groups[g].group->file, like->file))
            return &r->groups[g];
    }
    return NULL;
}

static bool is_alert_named(const struct rule_run *run, const char *name)
{
    return run->rule->is_alert && str_eq(run->rule->name, name);
}

/* Several rules of a group may share a name (warning and critical of one), so the same expression
 * comes first. */
static void move_alerts(struct group_run *from, struct group_run *to, bool same_expr)
{
    for (size_t i = 0; i < from->group->count; i++) {
        struct rule_run *old = &from->runs[i];
        for (size_t k = 0; k < to->group->count && old->rule->is_alert && !old->is_matched; k++) {
            struct rule_run *run = &to->runs[k];
            if (run->is_matched || !is_alert_named(run, old->rule->name) ||
                (same_expr && !str_eq(run->rule->expr_text, old->rule->expr_text)))
                continue;
            life_move(&old->life, &run->life);
            old->is_matched = run->is_matched = true;
        }
    }
}

/* An empty batch is sent once after one with samples, so that their series end. */
static void send_batch(struct rules *r, struct rule_run *run)
{
    struct batch *batch = batch_finish(r->builder);
    bool has = batch->n > 0, send = has || run->had_samples;
    run->had_samples = has;
    if (send)
        r->opts.on_samples(batch, r->opts.arg);
    else
        batch_unref(batch);
}

/* What the group leaves behind: alerts of rules that are gone, series that nobody goes on with. */
static void end_group(struct rules *r, struct group_run *from, struct group_run *to, struct now now)
{
    static const char *const none[] = {NULL};
    for (size_t i = 0; i < from->group->count; i++) {
        struct rule_run *old = &from->runs[i];
        if (!old->is_matched)
            life_resolve_all(&old->life, "removed", now);
        if (to != NULL && i < to->group->count) {
            to->runs[i].had_samples = old->had_samples; /* the same source */
            continue;
        }
        batch_begin(r->builder, old->source, now.wall, none);
        send_batch(r, old);
    }
}

void rules_load(struct rules *r, struct rule_set *set, struct now now)
{
    struct group_run *old = r->groups;
    size_t old_count = r->count;
    struct rule_set *old_set = r->set;
    r->set = set;
    r->count = set->count;
    r->groups = mem_alloc_array(set->count, sizeof(*r->groups));
    for (size_t g = 0; g < set->count; g++)
        init_group(r, g);
    for (size_t g = 0; g < old_count; g++) {
        struct group_run *to = find_group(r, old[g].group);
        if (to != NULL) {
            move_alerts(&old[g], to, true);
            move_alerts(&old[g], to, false);
        }
        end_group(r, &old[g], to, now);
        for (size_t i = 0; to != NULL && i < to->group->count; i++)
            to->runs[i].is_matched = false;
    }
    free_groups(old, old_count);
    rule_set_destroy(&old_set);
}

/* The rule of a stored alert: the one with its expression, or the only one with its name (its
 * expression has changed while the agent was down). */
static struct rule_run *run_of_alert(struct rules *r, const struct alert *a)
{
    struct rule_run *named = NULL;
    size_t count = 0;
    for (size_t g = 0; g < r->count; g++) {
        if (!str_eq(r->groups[g].group->name, a->group))
            continue;
        for (size_t i = 0; i < r->groups[g].group->count; i++) {
            struct rule_run *run = &r->groups[g].runs[i];
            if (!is_alert_named(run, a->rule))
                continue;
            if (str_eq(run->rule->expr_text, a->expr))
                return run;
            named = run;
            count++;
        }
    }
    return count == 1 ? named : NULL;
}

void rules_restore(struct rules *r, struct alert *const *alerts, size_t n, struct now now)
{
    for (size_t i = 0; i < n; i++) {
        struct rule_run *run = run_of_alert(r, alerts[i]);
        if (run != NULL) {
            life_restore(&run->life, alerts[i], now);
            continue;
        }
        struct alert ended = *alerts[i];
        ended.state = alerts[i]->state == ALERT_FIRING ? ALERT_RESOLVED : ALERT_INACTIVE;
        ended.resolved_at = now.wall;
        ended.reason = "removed";
        r->opts.on_change(&ended, alerts[i]->state, r->opts.arg);
    }
}

/* ---- one alerting rule ---- */

static void put_pair(struct label *pairs, size_t *n, const char *name, const char *value)
{
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(pairs[i].name, name)) {
            pairs[i].value = value;
            return;
        }
    }
    if (*n < LABELS_MAX)
        pairs[(*n)++] = (struct label){name, value};
}

/* Labels of the alert: the sample's without its name, the rule's over them, alertname, external. */
static struct labels alert_labels(struct rules *r, const struct rule *rule,
                                  const struct labels *sample, const struct template_data *data)
{
    struct label *pairs = arena_alloc_array(r->arena, LABELS_MAX, sizeof(*pairs));
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

static bool see_sample(struct rules *r, struct rule_run *run, const struct promql_sample *sample,
                       struct now now)
{
    struct template_data data = {.labels = &sample->labels,
                                 .external_labels = &r->external,
                                 .external_url = r->opts.external_url ? r->opts.external_url : "",
                                 .value = sample->value,
                                 .t = now.wall.ms};
    struct alert alert = {
        .labels = alert_labels(r, run->rule, &sample->labels, &data),
        .annotations = alert_annotations(r, run->rule, &data),
        .value = sample->value,
        .active_at = now.wall,
        .fired_at = WALL_UNSET,
        .resolved_at = WALL_UNSET,
        .keep_until = WALL_UNSET,
        .group = run->life.group,
        .rule = run->rule->name,
        .expr = run->rule->expr_text,
        .reason = "",
    };
    alert.fingerprint = labels_fingerprint(&alert.labels);
    return life_seen(&run->life, &alert, now);
}

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

static void send_alert_series(struct rules *r, struct rule_run *run, struct now now)
{
    static const char *const none[] = {NULL};
    if (run->life.instances == NULL && !run->had_samples)
        return;
    batch_begin(r->builder, run->source, now.wall, none);
    for (struct life_instance *in = run->life.instances; in != NULL; in = in->hh.next)
        if (in->alert->state == ALERT_PENDING || in->alert->state == ALERT_FIRING)
            add_alert_series(r, in->alert);
    send_batch(r, run);
}

static bool run_alert(struct rules *r, struct rule_run *run, const struct promql_value *value,
                      struct now now, struct err *err)
{
    struct promql_sample scalar = {.value = value->scalar};
    const struct promql_sample *samples = value->vector;
    size_t n = value->n;
    if (value->type == PROMQL_SCALAR) {
        samples = &scalar;
        n = 1;
    }
    if (n > ALERTS_PER_RULE_MAX)
        return err_set(err, ERR_LIMIT, "more than %d alerts", ALERTS_PER_RULE_MAX);
    bool unique = true;
    life_begin(&run->life);
    for (size_t i = 0; i < n; i++)
        unique = see_sample(r, run, &samples[i], now) && unique;
    life_end(&run->life, now);
    send_alert_series(r, run, now);
    return unique || err_set(err, ERR_INVALID,
                             "several results have the same labels once the "
                             "rule's labels are applied");
}

/* ---- one recording rule ---- */

static void record_sample(struct rules *r, const struct rule *rule,
                          const struct promql_sample *sample)
{
    const char *pairs[2 * (2 * LABELS_MAX) + 1];
    struct label merged[2 * LABELS_MAX];
    size_t n = 0, m = 0;
    for (size_t i = 0; i < sample->labels.n; i++)
        if (!str_eq(sample->labels.v[i].name, LABEL_METRIC))
            put_pair(merged, &n, sample->labels.v[i].name, sample->labels.v[i].value);
    for (size_t i = 0; i < rule->label_count; i++)
        put_pair(merged, &n, rule->labels[i].name, rule->labels[i].value);
    for (size_t i = 0; i < n; i++) {
        pairs[m++] = merged[i].name;
        pairs[m++] = merged[i].value;
    }
    pairs[m] = NULL;
    batch_add(r->builder, rule->name, sample->value, pairs);
}

static void run_record(struct rules *r, struct rule_run *run, const struct promql_value *value,
                       struct now now)
{
    static const char *const none[] = {NULL};
    struct promql_sample scalar = {.value = value->scalar};
    batch_begin(r->builder, run->source, now.wall, none);
    if (value->type == PROMQL_SCALAR)
        record_sample(r, run->rule, &scalar);
    for (size_t i = 0; value->type == PROMQL_VECTOR && i < value->n; i++)
        record_sample(r, run->rule, &value->vector[i]);
    send_batch(r, run);
}

/* ---- the tick ---- */

static void note_result(struct rules *r, struct rule_run *run, bool ok, const struct err *err)
{
    r->stats.evaluations_total++;
    if (ok) {
        if (run->error[0] != '\0')
            log_info("rule works again rule=%s", run->rule->name);
        run->error[0] = '\0';
        return;
    }
    r->stats.failures_total++;
    if (run->error[0] == '\0') {
        char quoted[256];
        log_warn("rule failed rule=%s error=%s", run->rule->name,
                 log_quote(quoted, sizeof(quoted), err->text));
    }
    str_copy(run->error, sizeof(run->error), err->text);
}

static void run_rule(struct rules *r, const struct group_run *group, struct rule_run *run,
                     struct now now)
{
    struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct promql_value value;
    struct err err = {0};
    uint64_t begin = clock_stage_ns();
    arena_reset(r->arena);
    limits.subquery_step_ms = r->opts.subquery_step_ms;
    bool ok =
        promql_instant(run->rule->expr, r->opts.reader, now.wall.ms - group->group->query_offset_ms,
                       &limits, r->arena, &value, &err);
    if (ok && group->group->limit > 0 && value.type == PROMQL_VECTOR &&
        value.n > (size_t)group->group->limit)
        ok = err_set(&err, ERR_LIMIT, "exceeded limit of %d with %zu series", group->group->limit,
                     value.n);
    if (ok && run->rule->is_alert)
        ok = run_alert(r, run, &value, now, &err);
    else if (ok)
        run_record(r, run, &value, now);
    note_result(r, run, ok, &err);
    run->run_at = now.wall;
    run->run_ns = (int64_t)(clock_stage_ns() - begin);
}

static void run_group(struct rules *r, struct group_run *group, struct now now)
{
    uint64_t begin = clock_stage_ns();
    for (size_t i = 0; i < group->group->count; i++)
        run_rule(r, group, &group->runs[i], now);
    group->run_at = now.wall;
    group->run_ns = (int64_t)(clock_stage_ns() - begin);
}

void rules_tick(struct rules *r, struct now now)
{
    uint64_t begin = clock_stage_ns();
    bool ran = false;
    for (size_t g = 0; g < r->count; g++) {
        struct group_run *group = &r->groups[g];
        if (!mono_is_set(group->next))
            group->next = now.mono;
        int64_t early = mono_diff(group->next, now.mono);
        if (early > i64_min(SLACK_MS, group->interval_ms / 4))
            continue;
        int64_t late = i64_max(0, -early) / group->interval_ms;
        r->stats.missed_total += (uint64_t)late;
        group->next = mono_add(group->next, (late + 1) * group->interval_ms);
        run_group(r, group, now);
        ran = true;
    }
    if (ran)
        hist_observe_ns(&r->tick_time, clock_stage_ns() - begin);
}

/* ---- looking in ---- */

struct alert_list *rules_list(const struct rules *r, wall_ms now)
{
    size_t n = 0, at = 0;
    for (size_t g = 0; g < r->count; g++)
        for (size_t i = 0; i < r->groups[g].group->count; i++)
            n += HASH_COUNT(r->groups[g].runs[i].life.instances);
    struct alert_list *list = alert_list_create(now, n);
    for (size_t g = 0; g < r->count; g++) {
        for (size_t i = 0; i < r->groups[g].group->count; i++) {
            for (struct life_instance *in = r->groups[g].runs[i].life.instances; in != NULL;
                 in = in->hh.next)
                list->alerts[at++] = alert_copy(in->alert);
        }
    }
    return list;
}

static struct labels labels_of(struct arena *arena, const struct label *v, size_t n)
{
    return labels_copy(arena, &(struct labels){n, v});
}

static void show_rule(struct arena *arena, const struct rule_run *run, struct rule_shown *out)
{
    const struct rule *rule = run->rule;
    *out = (struct rule_shown){
        .is_alert = rule->is_alert,
        .name = arena_strdup(arena, rule->name),
        .expr = arena_strdup(arena, rule->expr_text),
        .labels = labels_of(arena, rule->labels, rule->label_count),
        .annotations = labels_of(arena, rule->annotations, rule->annotation_count),
        .for_ms = rule->for_ms,
        .keep_firing_ms = rule->keep_firing_ms,
        .error = arena_strdup(arena, run->error),
        .run_ns = run->run_ns,
        .run_at = run->run_at,
    };
}

struct rule_report *rules_report(const struct rules *r)
{
    struct rule_report *report = rule_report_create(r->count);
    for (size_t g = 0; g < r->count; g++) {
        const struct group_run *from = &r->groups[g];
        struct rule_group_shown *to = &report->groups[g];
        *to = (struct rule_group_shown){
            .name = arena_strdup(report->arena, from->group->name),
            .file = arena_strdup(report->arena, from->group->file),
            .interval_ms = from->interval_ms,
            .limit = from->group->limit,
            .run_ns = from->run_ns,
            .run_at = from->run_at,
            .n = from->group->count,
        };
        to->rules = arena_alloc_array(report->arena, to->n, sizeof(*to->rules));
        for (size_t i = 0; i < to->n; i++)
            show_rule(report->arena, &from->runs[i], &to->rules[i]);
    }
    return report;
}

const struct rule_set *rules_set(const struct rules *r)
{
    return r->set;
}

static void count_states(const struct rule_run *run, struct rules_stats *out)
{
    for (struct life_instance *in = run->life.instances; in != NULL; in = in->hh.next) {
        out->pending += in->alert->state == ALERT_PENDING;
        out->firing += in->alert->state == ALERT_FIRING;
    }
}

void rules_stats(const struct rules *r, struct rules_stats *out)
{
    *out = r->stats;
    out->tick_time = &r->tick_time;
    for (size_t g = 0; g < r->count; g++)
        for (size_t i = 0; i < r->groups[g].group->count; i++)
            count_states(&r->groups[g].runs[i], out);
}
