/*
 * load.c: what a reload or a restart leaves standing. A rule that stays (file, group, name) keeps
 * its alerts; a source of samples that stays keeps its series, and one that is gone ends them at
 * once. Invariant: after rules_load nothing points into the old set.
 */
#include "rules_private.h"

#include "pgvigil/base/str.h"
#include "pgvigil/promql/print.h"
#include "pgvigil/promql/selector.h"

#define QUERY_TEXT_MAX (256 * 1024) /* durations and numbers are spelled out */

void groups_free(struct group_run *groups, size_t n)
{
    for (size_t g = 0; g < n; g++) {
        for (size_t i = 0; i < groups[g].group->count; i++) {
            life_deinit(&groups[g].runs[i].life);
            mem_free(groups[g].runs[i].query);
            mem_free(groups[g].runs[i].feeds);
        }
        mem_free(groups[g].runs);
    }
    mem_free(groups);
}

/* What is shown, and what users compare and link to. */
static char *query_text(const struct rule *rule)
{
    struct buf text;
    buf_init(&text, QUERY_TEXT_MAX);
    promql_print(rule->expr, &text);
    char *query = mem_strdup(buf_ok(&text) ? text.data : rule->expr_text);
    buf_deinit(&text);
    return query;
}

/* What tells a source apart: names of groups are unique in a file only, and rules of one name and
 * equal labels keep their series apart by their order. */
static uint64_t rule_hash(const struct rule_group *group, const struct rule *rule)
{
    uint64_t h = str_hash(group->name, strlen(group->name) + 1, STR_HASH_SEED);
    h = str_hash(rule->name, strlen(rule->name), h);
    h = str_hash(rule->is_alert ? "a" : "r", 1, h);
    for (size_t i = 0; i < rule->label_count; i++) {
        h = str_hash(rule->labels[i].name, strlen(rule->labels[i].name) + 1, h);
        h = str_hash(rule->labels[i].value, strlen(rule->labels[i].value) + 1, h);
    }
    return h;
}

/* The hashes of the runs before this one are known. */
static void name_source(struct rule_run *runs, size_t index, const struct rule_group *group)
{
    struct rule_run *run = &runs[index];
    unsigned file = (unsigned)str_hash(group->file, strlen(group->file), STR_HASH_SEED);
    size_t same = 0;
    run->hash = rule_hash(group, run->rule);
    for (size_t i = 0; i < index; i++)
        same += runs[i].hash == run->hash;
    snprintf(run->source, BATCH_SOURCE_MAX, "rules/%08x.%.60s.%016llx.%zu", file, group->name,
             (unsigned long long)run->hash, same);
}

static void init_group(struct rules *r, size_t index)
{
    struct group_run *group = &r->groups[index];
    const struct rule_group *from = &r->set->groups[index];
    group->group = from;
    group->interval_ms = from->interval_ms > 0 ? from->interval_ms : r->opts.evaluation_interval_ms;
    group->next = MONO_UNSET;
    group->run_at = WALL_UNSET;
    group->runs = mem_alloc_array(from->count, sizeof(*group->runs));
    for (size_t i = 0; i < from->count; i++) {
        struct rule_run *run = &group->runs[i];
        run->rule = &from->rules[i];
        run->run_at = WALL_UNSET;
        run->look_at = MONO_UNSET;
        run->interval_ms = group->interval_ms;
        run->reach_ms = promql_reach_ms(run->rule->expr);
        run->query = query_text(run->rule);
        name_source(group->runs, i, from);
        life_init(&run->life, &r->opts, run->rule, from->name);
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

/* Mostly a rule stands where it stood. */
static struct rule_run *run_of_source(struct group_run *group, const struct rule_run *like,
                                      size_t index)
{
    size_t n = group != NULL ? group->group->count : 0;
    for (size_t i = 0; i < n; i++) {
        struct rule_run *run = &group->runs[(index + i) % n];
        if (run->hash == like->hash && str_eq(run->source, like->source))
            return run;
    }
    return NULL;
}

/* What was told of an expression stays with it: a reload is no reason to tell it again, nor to
 * forget how it went. */
static void keep_told(const struct rule_run *from, struct rule_run *to)
{
    if (!str_eq(from->rule->expr_text, to->rule->expr_text))
        return;
    memcpy(to->missing, from->missing, sizeof(to->missing));
    memcpy(to->note, from->note, sizeof(to->note));
    memcpy(to->error, from->error, sizeof(to->error));
    to->run_at = from->run_at;
    to->run_ns = from->run_ns;
}

/* What the group leaves behind: alerts of rules that are gone, series that nobody goes on with. */
static void end_group(struct rules *r, struct group_run *from, struct group_run *to, struct now now)
{
    static const char *const none[] = {NULL};
    for (size_t i = 0; i < from->group->count; i++) {
        struct rule_run *old = &from->runs[i], *stays = run_of_source(to, old, i);
        if (!old->is_matched)
            life_resolve_all(&old->life, "removed", now);
        if (stays != NULL) {
            stays->had_samples = old->had_samples;
            keep_told(old, stays);
            continue;
        }
        batch_begin(r->builder, old->source, now.wall, none);
        rules_send_batch(r, old);
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
    r->settled = MONO_UNSET;
    r->look_group = r->look_rule = 0;
    for (size_t g = 0; g < set->count; g++)
        init_group(r, g);
    rules_link_feeds(r);
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
    groups_free(old, old_count);
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

void rules_restore(struct rules *r, struct alert *const *alerts, size_t n, wall_ms down_since,
                   struct now now)
{
    for (size_t i = 0; i < n; i++) {
        struct rule_run *run = run_of_alert(r, alerts[i]);
        if (run != NULL) {
            run->life.fill_ms = rule_fill_ms(r, run);
            life_restore(&run->life, alerts[i], down_since, now);
            continue;
        }
        struct alert ended = *alerts[i];
        ended.state = alerts[i]->state == ALERT_FIRING ? ALERT_RESOLVED : ALERT_INACTIVE;
        ended.resolved_at = now.wall;
        ended.reason = "removed";
        r->opts.on_change(&ended, alerts[i]->state, r->opts.arg);
    }
}
