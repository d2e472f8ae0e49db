/*
 * Groups run one after the other on the engine's thread, each on its own grid of the monotonic
 * clock; a run that comes late by more than an interval is skipped and counted, never made up for.
 * All rules of a group see one timestamp; what a rule produced is in the head before the next one
 * is evaluated. Evaluation goes into one arena that is reset for each rule, so a steady rule
 * allocates nothing. A rule that fails keeps its alerts as they are: an error is not recovery.
 * Invariant: a group whose rule is evaluated elsewhere (far.c) has a ticket, and nothing but the
 * end of that job moves it on; its ticks meanwhile are missed, those of other groups are not.
 */
#include "rules_private.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"

#define ARENA_KEEP (64 * 1024)
#define ARENA_MAX  (64 * 1024 * 1024)
#define SLACK_MS   250 /* ticks come with a little jitter: one that is early by less is on time */

static void free_external(struct rules *r)
{
    for (size_t i = 0; i < r->external.n; i++) {
        mem_free((void *)(uintptr_t)r->external.v[i].name);
        mem_free((void *)(uintptr_t)r->external.v[i].value);
    }
    mem_free((void *)(uintptr_t)r->external.v);
    r->external = (struct labels){0};
}

void rules_set_external(struct rules *r, const struct label *labels, size_t n)
{
    struct label *external = mem_alloc_array(n + 1, sizeof(*external));
    for (size_t i = 0; i < n; i++)
        external[i] = (struct label){mem_strdup(labels[i].name), mem_strdup(labels[i].value)};
    free_external(r);
    r->external = (struct labels){n, external};
}

struct rules *rules_create(const struct rules_opts *opts)
{
    struct rules *r = mem_alloc(sizeof(*r));
    r->opts = *opts;
    rules_set_external(r, opts->external_labels, opts->external_label_count);
    r->arena = arena_create(ARENA_KEEP, ARENA_MAX);
    r->query_arena = arena_create(0, ARENA_MAX);
    r->builder = batch_builder_create(opts->series);
    r->settled = MONO_UNSET;
    r->stats.last_run = WALL_UNSET;
    return r;
}

void rules_destroy(struct rules **rules)
{
    struct rules *r = *rules;
    if (r == NULL)
        return;
    groups_free(r->groups, r->count);
    rule_set_destroy(&r->set);
    free_external(r);
    batch_builder_destroy(&r->builder);
    arena_destroy(&r->arena);
    arena_destroy(&r->query_arena);
    MEM_FREE_NULL(rules);
}

/* ---- one rule ---- */

struct promql_limits rule_limits(const struct rules *r)
{
    struct promql_limits limits = PROMQL_LIMITS_RULES;
    limits.subquery_step_ms = r->opts.subquery_step_ms;
    return limits;
}

void put_pair(struct label *pairs, size_t *n, const char *name, const char *value)
{
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(pairs[i].name, name)) {
            pairs[i].value = value;
            return;
        }
    }
    if (*n < PAIRS_MAX)
        pairs[(*n)++] = (struct label){name, value};
}

bool fit_labels(const struct labels *labels, size_t max, struct err *err)
{
    return labels->n <= max ||
           err_set(err, ERR_LIMIT, "more than %zu labels, with those of the rule", max);
}

const struct promql_sample *value_samples(const struct promql_value *value,
                                          struct promql_sample *scalar, size_t *n)
{
    if (value->type != PROMQL_SCALAR) {
        *n = value->n;
        return value->vector;
    }
    *scalar = (struct promql_sample){.value = value->scalar};
    *n = 1;
    return scalar;
}

void rules_send_batch(struct rules *r, struct rule_run *run)
{
    struct batch *batch = batch_finish(r->builder);
    bool has = batch->n > 0, send = has || run->had_samples;
    run->had_samples = has;
    if (send)
        r->opts.on_samples(batch, r->opts.arg);
    else
        batch_unref(batch);
}

/* As in Prometheus, query_offset moves samples too: they lie where their input was looked at. */
wall_ms group_sample_time(const struct group_run *group)
{
    return wall_add(group->began.wall, -group->group->query_offset_ms);
}

static void note_result(struct rules *r, const struct group_run *group, struct rule_run *run,
                        bool ok, const struct err *err)
{
    char name[200], quoted[256];
    r->stats.evaluations_total++;
    run->run_at = group->began.wall;
    run->run_ns = (int64_t)(clock_stage_ns() - group->rule_began_ns);
    if (ok) {
        if (run->error[0] != '\0')
            log_info("rule works again rule=%s", log_quote(name, sizeof(name), run->rule->name));
        run->error[0] = '\0';
        return;
    }
    r->stats.failures_total++;
    if (run->error[0] == '\0')
        log_warn("rule failed rule=%s error=%s", log_quote(name, sizeof(name), run->rule->name),
                 log_quote(quoted, sizeof(quoted), err->text));
    str_copy(run->error, sizeof(run->error), err->text);
}

/* An annotation comes back with each run; it is told once, and again if it changes. */
static void keep_note(struct rule_run *run, const struct promql_value *value)
{
    const char *text = value->note_count > 0 ? value->notes[0].text : "";
    if (strncmp(run->note, text, sizeof(run->note) - 1) == 0)
        return;
    str_copy(run->note, sizeof(run->note), text);
    if (*text != '\0') {
        char name[200], quoted[256];
        log_at(value->notes[0].is_warning ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
               "rule has a doubtful result rule=%s note=%s",
               log_quote(name, sizeof(name), run->rule->name),
               log_quote(quoted, sizeof(quoted), text));
    }
}

/* Applies a result, or the error instead of it, to the group's current rule. */
static void end_rule(struct rules *r, struct group_run *group, bool ok,
                     const struct promql_value *value, struct err *err)
{
    struct rule_run *run = &group->runs[group->at];
    if (ok && value->type != PROMQL_VECTOR && value->type != PROMQL_SCALAR)
        ok = err_set(err, ERR_INVALID, "rule result is not a vector or scalar");
    if (ok) {
        run->had_result = value->type == PROMQL_SCALAR || value->n > 0;
        keep_note(run, value);
        ok = run->rule->is_alert ? run_alert(r, group, run, value, err)
                                 : run_record(r, group, run, value, err);
    }
    note_result(r, group, run, ok, err);
}

/* ---- one group ---- */

static bool evaluate(struct rules *r, const struct group_run *group, struct promql_value *value,
                     struct err *err)
{
    const struct promql_limits limits = rule_limits(r);
    return promql_instant(group->runs[group->at].rule->expr, r->opts.reader,
                          group_sample_time(group).ms, &limits, r->arena, value, err);
}

/* Evaluates the current rule; false: the group waits for it. */
static bool run_rule(struct rules *r, struct group_run *group)
{
    struct rule_run *run = &group->runs[group->at];
    int64_t t = group_sample_time(group).ms;
    struct promql_value value = {0};
    struct err err = {0};
    bool is_far = rule_is_far(r, run, t);
    arena_reset(r->arena);
    group->rule_began_ns = clock_stage_ns();
    if (is_far && rule_send_far(r, group, t, &err))
        return false;
    bool ok = !(is_far && rule_needs_history(r, run)) && evaluate(r, group, &value, &err);
    end_rule(r, group, ok, &value, &err);
    return true;
}

static void note_settled(struct rules *r, struct now now)
{
    for (size_t g = 0; g < r->count; g++)
        if (!r->groups[g].has_run)
            return;
    r->settled = now.mono;
}

/* From the current rule on, until the end or until a rule is evaluated elsewhere. */
static void go_on(struct rules *r, struct group_run *group, struct now now)
{
    for (; group->at < group->group->count; group->at++)
        if (!run_rule(r, group))
            return;
    group->run_at = group->began.wall;
    group->run_ns = (int64_t)(clock_stage_ns() - group->began_ns);
    group->has_run = true;
    r->stats.last_run = group->began.wall;
    if (!mono_is_set(r->settled))
        note_settled(r, now);
}

/* `for` counts from grid point to grid point: a tick that is a millisecond early would cost a whole
 * interval. */
static void begin_run(struct rules *r, struct group_run *group, mono_ms due, struct now now)
{
    group->began = (struct now){due, now.wall};
    group->began_ns = clock_stage_ns();
    group->at = 0;
    go_on(r, group, now);
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
        r->stats.missed_total += (uint64_t)late + (group->ticket != 0);
        mono_ms due = mono_add(group->next, late * group->interval_ms);
        group->next = mono_add(due, group->interval_ms);
        if (group->ticket != 0)
            continue;
        begin_run(r, group, due, now);
        ran = true;
    }
    rules_look(r, now);
    if (ran)
        hist_observe_ns(&r->tick_time, clock_stage_ns() - begin);
}

/* ---- what was evaluated elsewhere ---- */

/* The group that waits for this job; NULL if it was loaded anew meanwhile. */
static struct group_run *waiting_group(struct rules *r, uint64_t ticket)
{
    for (size_t g = 0; g < r->count; g++)
        if (r->groups[g].ticket == ticket)
            return &r->groups[g];
    return NULL;
}

static void end_far(struct rules *r, uint64_t ticket, bool ok, const struct promql_value *value,
                    struct err *err, struct now now)
{
    struct group_run *group = waiting_group(r, ticket);
    if (group == NULL)
        return;
    uint64_t begin = clock_stage_ns();
    struct promql_value at_hand;
    group->ticket = 0;
    arena_reset(r->arena);
    if (!ok && !rule_needs_history(r, &group->runs[group->at])) {
        ok = evaluate(r, group, &at_hand, err);
        value = &at_hand;
    }
    end_rule(r, group, ok, value, err);
    group->at++;
    go_on(r, group, now);
    hist_observe_ns(&r->tick_time, clock_stage_ns() - begin);
}

void rules_far_done(struct rules *r, struct rule_job *job, struct now now)
{
    struct err err;
    const struct promql_value *value = rule_job_result(job, &err);
    end_far(r, rule_job_ticket(job), value != NULL, value, &err, now);
}

void rules_far_failed(struct rules *r, const struct rule_job *job, const char *why, struct now now)
{
    struct err err;
    (void)err_set(&err, ERR_TIMEOUT, "%s", why);
    end_far(r, rule_job_ticket(job), false, NULL, &err, now);
}
