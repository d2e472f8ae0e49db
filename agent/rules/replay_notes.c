/*
 * What a replay notes down. Alerts that fire are found by fingerprint and rule, since two rules may
 * give alerts of equal labels. The value and the texts of an alert change without an event, so they
 * are looked at after each step, but only while something fires; the texts of the highest value
 * say most. Invariant: an open firing has no
 * end yet and is the last one of its key.
 */
#include "replay_parts.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"
#include "rule_file_private.h"

/* uthash must abort like the rest of us when memory is out. */
#undef uthash_malloc
#undef uthash_free
#define uthash_malloc(n)  mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#include <uthash.h>

struct open_firing {
    uint64_t key;
    size_t rule, firing;
    UT_hash_handle hh;
};

struct replay_notes {
    struct replay_outcome *outcome;
    struct open_firing *open;
    size_t *places; /* by place in the running set, group after group: index of the rule */
    size_t *first;  /* by group: its first place */
    size_t firings;
    uint64_t failures;
    wall_ms at;
};

int64_t replay_reach_ms(const struct rule *rule)
{
    int64_t reach = promql_reach_ms(rule->expr);
    return reach == INT64_MAX ? 0 : reach;
}

static void add_rules(struct replay_outcome *o, const struct rule_set *set)
{
    for (size_t g = 0; g < set->count; g++) {
        for (size_t i = 0; i < set->groups[g].count; i++) {
            const struct rule *rule = &set->groups[g].rules[i];
            o->rules[o->rule_count++] =
                (struct replay_rule){.group = arena_strdup(o->arena, set->groups[g].name),
                                     .file = arena_strdup(o->arena, set->groups[g].file),
                                     .name = arena_strdup(o->arena, rule->name),
                                     .expr = arena_strdup(o->arena, rule->expr_text),
                                     .is_alert = rule->is_alert,
                                     .reach_ms = replay_reach_ms(rule)};
        }
    }
}

/* All rules are in the set. */
static void set_places(struct replay_notes *notes, const struct rule_set *set)
{
    size_t at = 0;
    notes->places = mem_alloc_array(notes->outcome->rule_count + 1, sizeof(*notes->places));
    notes->first = mem_alloc_array(set->count + 1, sizeof(*notes->first));
    for (size_t g = 0; g < set->count; g++) {
        notes->first[g] = at;
        for (size_t i = 0; i < set->groups[g].count; i++, at++)
            notes->places[at] = at;
    }
}

struct replay_notes *replay_notes_create(const struct rule_set *set, wall_ms start, wall_ms end)
{
    struct replay_notes *notes = mem_alloc(sizeof(*notes));
    struct replay_outcome *o = mem_alloc(sizeof(*o));
    size_t n = rule_set_count(set, true) + rule_set_count(set, false);
    notes->outcome = o;
    *o = (struct replay_outcome){
        .start = start, .end = end, .arena = arena_create(0, ARENA_NO_LIMIT)};
    o->rules = mem_alloc_array(n + 1, sizeof(*o->rules));
    add_rules(o, set);
    set_places(notes, set);
    return notes;
}

static void clear_open(struct replay_notes *notes)
{
    struct open_firing *open, *next;
    HASH_ITER(hh, notes->open, open, next)
    {
        HASH_DEL(notes->open, open);
        mem_free(open);
    }
}

void replay_notes_destroy(struct replay_notes **notes)
{
    if (*notes == NULL)
        return;
    clear_open(*notes);
    replay_outcome_destroy(&(*notes)->outcome);
    mem_free((*notes)->places);
    mem_free((*notes)->first);
    MEM_FREE_NULL(notes);
}

void replay_outcome_destroy(struct replay_outcome **outcome)
{
    struct replay_outcome *o = *outcome;
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->rule_count; i++) {
        for (size_t k = 0; k < o->rules[i].firing_count; k++)
            alert_destroy(&o->rules[i].firings[k].alert);
        mem_free(o->rules[i].firings);
    }
    mem_free(o->rules);
    mem_free(o->gaps);
    arena_destroy(&o->arena);
    MEM_FREE_NULL(outcome);
}

/* ---- rules that are left out ---- */

void replay_notes_leave_out(struct replay_notes *notes, struct rule_set *set, int64_t reach_ms)
{
    size_t from = 0, to = 0;
    for (size_t g = 0; g < set->count; g++) {
        struct rule_group *group = &set->groups[g];
        size_t kept = 0;
        notes->first[g] = to;
        for (size_t i = 0; i < group->count; i++, from++) {
            struct rule *rule = &group->rules[i];
            if (replay_reach_ms(rule) > reach_ms) {
                notes->outcome->rules[notes->places[from]].left_out = true;
                rule_free(rule);
                continue;
            }
            notes->places[to++] = notes->places[from];
            group->rules[kept++] = *rule;
        }
        group->count = kept;
    }
}

/* ---- alerts ---- */

static struct replay_rule *rule_of(struct replay_notes *notes, const struct alert *alert,
                                   size_t *index)
{
    struct replay_outcome *o = notes->outcome;
    for (*index = 0; *index < o->rule_count; ++*index) {
        struct replay_rule *rule = &o->rules[*index];
        if (rule->is_alert && str_eq(rule->name, alert->rule) &&
            str_eq(rule->group, alert->group) && str_eq(rule->expr, alert->expr))
            return rule;
    }
    return NULL;
}

static uint64_t key_of(const struct alert *alert)
{
    uint64_t hash = str_hash(alert->expr, strlen(alert->expr), alert->fingerprint);
    return str_hash(alert->group, strlen(alert->group), hash);
}

static struct open_firing *find_open(struct replay_notes *notes, const struct alert *alert)
{
    struct open_firing *open;
    uint64_t key = key_of(alert);
    HASH_FIND(hh, notes->open, &key, sizeof(key), open);
    return open;
}

static void begin_firing(struct replay_notes *notes, const struct alert *alert, wall_ms at)
{
    size_t index;
    struct replay_rule *rule = rule_of(notes, alert, &index);
    if (rule == NULL || find_open(notes, alert) != NULL || notes->firings == REPLAY_FIRINGS_MAX)
        return;
    struct open_firing *open = mem_alloc(sizeof(*open));
    open->key = key_of(alert);
    open->rule = index;
    open->firing = rule->firing_count;
    HASH_ADD(hh, notes->open, key, sizeof(open->key), open);
    rule->firings =
        mem_realloc_array(rule->firings, rule->firing_count + 1, sizeof(*rule->firings));
    rule->firings[rule->firing_count++] = (struct replay_firing){
        .alert = alert_copy(alert), .from = at, .to = WALL_UNSET, .peak = alert->value};
    notes->firings++;
}

/* Those that ended before the window do not count: they are of the time that warms up. */
static void end_firing(struct replay_notes *notes, struct open_firing *open, wall_ms at)
{
    struct replay_rule *rule = &notes->outcome->rules[open->rule];
    rule->firings[open->firing].to = at;
    HASH_DEL(notes->open, open);
    mem_free(open);
}

void replay_notes_change(struct replay_notes *notes, const struct alert *alert,
                         enum alert_state from, wall_ms at)
{
    struct open_firing *open = find_open(notes, alert);
    if (alert->state == ALERT_FIRING && from != ALERT_FIRING)
        begin_firing(notes, alert, at);
    else if (alert->state != ALERT_FIRING && open != NULL)
        end_firing(notes, open, at);
}

static void look_at_alert(const struct alert *alert, void *arg)
{
    struct replay_notes *notes = arg;
    struct open_firing *open = alert->state == ALERT_FIRING ? find_open(notes, alert) : NULL;
    if (open == NULL)
        return;
    struct replay_firing *firing = &notes->outcome->rules[open->rule].firings[open->firing];
    if (!(alert->value > firing->peak))
        return;
    firing->peak = alert->value;
    alert_destroy(&firing->alert);
    firing->alert = alert_copy(alert);
}

static void look_at_error(size_t group, size_t rule, const char *error, void *arg)
{
    struct replay_notes *notes = arg;
    struct replay_rule *to = &notes->outcome->rules[notes->places[notes->first[group] + rule]];
    to->failures += notes->at.ms >= notes->outcome->start.ms;
    str_copy(to->error, sizeof(to->error), error);
}

void replay_notes_step(struct replay_notes *notes, const struct replay *replay, wall_ms at)
{
    struct rules_stats stats;
    notes->at = at;
    if (notes->open != NULL)
        replay_each_alert(replay, look_at_alert, notes);
    rules_stats(replay_rules(replay), &stats);
    if (stats.failures_total == notes->failures)
        return;
    notes->failures = stats.failures_total;
    replay_each_error(replay, at, look_at_error, notes);
}

/* ---- the end ---- */

void replay_notes_gap(struct replay_notes *notes, wall_ms from, wall_ms to, wall_ms resumed)
{
    struct replay_outcome *o = notes->outcome;
    if (o->gap_count == REPLAY_GAPS_MAX || to.ms <= o->start.ms)
        return;
    from.ms = i64_max(from.ms, o->start.ms); /* what warms up is not shown */
    o->gaps = mem_realloc_array(o->gaps, o->gap_count + 1, sizeof(*o->gaps));
    o->gaps[o->gap_count++] = (struct replay_gap){from, to, resumed};
}

/* Drops what ended before the window, and adds up what is left. */
static void sum_up(const struct replay_outcome *o, struct replay_rule *rule)
{
    size_t n = 0;
    for (size_t i = 0; i < rule->firing_count; i++) {
        struct replay_firing *f = &rule->firings[i];
        int64_t to = wall_is_set(f->to) ? f->to.ms : o->data_end.ms;
        if (to <= o->start.ms) {
            alert_destroy(&f->alert);
            continue;
        }
        rule->firing_ms += to - i64_max(f->from.ms, o->start.ms);
        rule->firings[n++] = *f;
    }
    rule->firing_count = n;
}

struct replay_outcome *replay_notes_finish(struct replay_notes *notes)
{
    struct replay_outcome *o = notes->outcome;
    const struct replay_gap *last = o->gap_count > 0 ? &o->gaps[o->gap_count - 1] : NULL;
    o->data_end = last != NULL && last->to.ms == o->end.ms ? last->from : o->end;
    for (size_t i = 0; i < o->rule_count; i++)
        sum_up(o, &o->rules[i]);
    notes->outcome = NULL;
    return o;
}
