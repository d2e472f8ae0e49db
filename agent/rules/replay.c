/*
 * Why so: a test or a replay must judge what the daemon would do, so it drives the daemon's own
 * evaluation with a clock of its own. Groups keep their grid on the monotonic clock of the replay,
 * which stands still over a jump, as a restarted agent's alerts do not age while it is down.
 * Invariant: a step sees given samples up to its time only, so a rule cannot look into the future.
 */
#include "pgvigil/rules/replay.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/store/head.h"
#include "rules_private.h"
#include "sample_store.h"

struct replay {
    struct replay_opts opts;
    struct reader reader;
    struct sample_store *given;
    struct head *produced;
    struct series_table *series;
    struct rules *rules;
    mono_ms *next; /* by group; the same grid as that of the rules */
    int64_t *interval_ms;
    size_t groups;
    int64_t offset; /* wall minus mono */
    wall_ms visible;
    char clash[200]; /* "" = none */
};

/* ---- what rules ask for ---- */

static bool select_given(struct replay *r, const struct read_request *req, struct arena *arena,
                         struct read_result *out, struct err *err)
{
    const char *metric = matchers_metric(req->matchers, req->matcher_count);
    if (r->opts.rest != NULL && !r->opts.covers(metric, req->t_min, r->opts.arg))
        return r->opts.rest->select(r->opts.rest, req, arena, out, err);
    return sample_store_select(r->given, req, arena, out, err);
}

static bool replay_select(struct reader *reader, const struct read_request *req,
                          struct arena *arena, struct read_result *out, struct err *err)
{
    struct replay *r = reader->impl;
    struct read_request seen = *req;
    struct read_result given, made;
    seen.t_max = i64_min(req->t_max, r->visible.ms);
    if (!select_given(r, &seen, arena, &given, err) ||
        !head_reader(r->produced)->select(head_reader(r->produced), req, arena, &made, err))
        return false;
    *out = read_result_merge(arena, &given, &made, req->last_only);
    return true;
}

/* Prometheus' storage refuses a sample where the series has another one. */
static void note_clash(struct replay *r, const struct sample *sample, int64_t t)
{
    const struct labels *labels = &sample->series->labels;
    const char *rule = sample->series->name;
    if (!sample_store_contradicts(r->given, labels, &(struct point){t, sample->value}))
        return;
    if (str_starts(rule, "ALERTS"))
        rule = labels_get_or_empty(labels, "alertname");
    str_copy(r->clash, sizeof(r->clash), rule);
}

static void on_samples(struct batch *batch, void *arg)
{
    struct replay *r = arg;
    for (size_t i = 0; r->opts.like_promtool && i < batch->n && r->clash[0] == '\0'; i++)
        note_clash(r, &batch->samples[i], batch->at.ms);
    head_append(r->produced, batch);
    batch_unref(batch);
}

static void on_change(const struct alert *alert, enum alert_state from, void *arg)
{
    struct replay *r = arg;
    if (r->opts.on_change != NULL)
        r->opts.on_change(alert, from, r->opts.arg);
}

static bool never_failing(const char *metric, const struct labels *labels, void *arg)
{
    (void)metric;
    (void)labels;
    (void)arg;
    return false;
}

static bool never_gone(const struct labels *labels, void *arg)
{
    (void)labels;
    (void)arg;
    return false;
}

/* ---- making one ---- */

/* 0 for groups that are not named, as promtool ranks them. */
static size_t rank_of(const struct replay_opts *opts, const struct rule_group *group)
{
    for (size_t i = 0; i < opts->group_order_count; i++)
        if (str_eq(opts->group_order[i], group->name))
            return i;
    return 0;
}

/* Insertion sort: groups of one rank keep the order of their files. */
static void order_groups(const struct replay_opts *opts, struct rule_set *set)
{
    for (size_t i = 1; i < set->count; i++) {
        struct rule_group group = set->groups[i];
        size_t at = i, rank = rank_of(opts, &group);
        for (; at > 0 && rank_of(opts, &set->groups[at - 1]) > rank; at--)
            set->groups[at] = set->groups[at - 1];
        set->groups[at] = group;
    }
}

static void set_intervals(struct replay *r, struct rule_set *set)
{
    /* without any group there are steps all the same: samples become visible with them */
    r->groups = set->count > 0 ? set->count : 1;
    r->next = mem_alloc_array(r->groups, sizeof(*r->next));
    r->interval_ms = mem_alloc_array(r->groups, sizeof(*r->interval_ms));
    r->interval_ms[0] = r->opts.evaluation_interval_ms;
    for (size_t g = 0; g < set->count; g++) {
        struct rule_group *group = &set->groups[g];
        if (r->opts.one_interval || group->interval_ms <= 0)
            group->interval_ms = r->opts.evaluation_interval_ms;
        r->interval_ms[g] = group->interval_ms;
    }
}

struct replay *replay_create(const struct replay_opts *opts, struct rule_set *set)
{
    struct replay *r = mem_alloc(sizeof(*r));
    r->opts = *opts;
    r->reader = (struct reader){replay_select, r};
    r->given = sample_store_create(opts->max_points);
    r->produced = head_create(0, REPLAY_PRODUCED_MAX);
    r->series = series_table_create(REPLAY_SERIES_MAX);
    r->offset = opts->start.ms;
    r->visible = WALL_UNSET;
    order_groups(opts, set);
    set_intervals(r, set);
    r->rules = rules_create(&(struct rules_opts){
        .evaluation_interval_ms = opts->evaluation_interval_ms,
        .external_labels = opts->external_labels,
        .external_label_count = opts->external_label_count,
        .external_url = opts->external_url,
        .like_promtool = opts->like_promtool,
        .subquery_step_ms = opts->like_promtool ? opts->evaluation_interval_ms : 0,
        .series = r->series,
        .reader = &r->reader,
        .on_samples = on_samples,
        .on_change = on_change,
        .failing = never_failing,
        .gone = never_gone,
        .arg = r});
    rules_load(r->rules, set, (struct now){{0}, opts->start});
    return r;
}

void replay_destroy(struct replay **replay)
{
    struct replay *r = *replay;
    if (r == NULL)
        return;
    rules_destroy(&r->rules);
    head_destroy(&r->produced);
    series_table_destroy(&r->series);
    sample_store_destroy(&r->given);
    mem_free(r->next);
    mem_free(r->interval_ms);
    MEM_FREE_NULL(replay);
}

/* ---- samples ---- */

bool replay_add(struct replay *r, const struct labels *labels, const struct point *points, size_t n,
                struct err *err)
{
    return sample_store_add(r->given, labels, points, n, err);
}

void replay_forget(struct replay *r, const struct labels *labels)
{
    sample_store_clear(r->given, labels);
}

void replay_trim(struct replay *r, int64_t (*before)(const char *metric, void *arg), void *arg,
                 wall_ms produced)
{
    sample_store_trim(r->given, before, arg);
    head_trim(r->produced, produced);
    series_table_sweep(r->series);
}

struct reader *replay_reader(struct replay *r)
{
    return &r->reader;
}

void replay_each_alert(const struct replay *r, void (*fn)(const struct alert *alert, void *arg),
                       void *arg)
{
    for (size_t g = 0; g < r->rules->count; g++) {
        const struct group_run *group = &r->rules->groups[g];
        for (size_t i = 0; i < group->group->count; i++) {
            const struct life *life = &group->runs[i].life;
            for (struct life_instance *in = life->instances; in != NULL; in = in->hh.next)
                fn(in->alert, arg);
        }
    }
}

void replay_each_error(const struct replay *r, wall_ms at,
                       void (*fn)(size_t group, size_t rule, const char *error, void *arg),
                       void *arg)
{
    for (size_t g = 0; g < r->rules->count; g++) {
        const struct group_run *group = &r->rules->groups[g];
        for (size_t i = 0; i < group->group->count; i++)
            if (group->runs[i].run_at.ms == at.ms && group->runs[i].error[0] != '\0')
                fn(g, i, group->runs[i].error, arg);
    }
}

const struct rules *replay_rules(const struct replay *r)
{
    return r->rules;
}

size_t replay_points(const struct replay *r)
{
    return sample_store_points(r->given);
}

/* ---- steps ---- */

static mono_ms next_mono(const struct replay *r)
{
    mono_ms next = MONO_NEVER;
    for (size_t g = 0; g < r->groups; g++)
        if (mono_before(r->next[g], next))
            next = r->next[g];
    return next;
}

wall_ms replay_next(const struct replay *r)
{
    return (wall_ms){next_mono(r).ms + r->offset};
}

const char *replay_clash(const struct replay *r)
{
    return r->clash[0] != '\0' ? r->clash : NULL;
}

wall_ms replay_at(const struct replay *r)
{
    return r->visible;
}

void replay_jump(struct replay *r, wall_ms to)
{
    r->offset = i64_max(r->offset, to.ms - next_mono(r).ms);
}

static void step(struct replay *r, mono_ms mono)
{
    struct now now = {mono, {mono.ms + r->offset}};
    r->visible = now.wall;
    rules_tick(r->rules, now);
    for (size_t g = 0; g < r->groups; g++)
        if (!mono_before(mono, r->next[g]))
            r->next[g] = mono_add(r->next[g], r->interval_ms[g]);
}

bool replay_run(struct replay *r, wall_ms end, struct err *err)
{
    for (mono_ms mono = next_mono(r); mono.ms + r->offset <= end.ms; mono = next_mono(r)) {
        step(r, mono);
        /* before the head would forget the oldest in silence */
        if (head_stats(r->produced).bytes > REPLAY_PRODUCED_MAX / 8 * 7)
            return err_set(err, ERR_LIMIT, "the rules produce more than %zu MiB of samples",
                           REPLAY_PRODUCED_MAX / 1024 / 1024);
        if (r->opts.on_step != NULL && !r->opts.on_step(r, r->visible, r->opts.arg))
            break;
    }
    return true;
}
