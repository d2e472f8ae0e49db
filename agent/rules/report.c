/*
 * report.c: copies of what the rules hold, for the boards that other threads read.
 */
#include "rules_private.h"

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
        .query = arena_strdup(arena, run->query),
        .labels = labels_of(arena, rule->labels, rule->label_count),
        .annotations = labels_of(arena, rule->annotations, rule->annotation_count),
        .for_ms = rule->for_ms,
        .keep_firing_ms = rule->keep_firing_ms,
        .error = arena_strdup(arena, run->error),
        .note = arena_strdup(arena, run->note),
        .missing = arena_strdup(arena, run->missing),
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
            .query_offset_ms = from->group->query_offset_ms,
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
