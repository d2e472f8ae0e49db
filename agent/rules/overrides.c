/*
 * Overrides change shipped rules without a copy of them, so that an upgrade still brings its
 * fixes. The threshold is replaced in the text of the expression, which is then parsed again: what
 * is shown anywhere is what is evaluated. Only one comparison with one number can be meant by "the
 * threshold"; anything else is refused, because a guess could silence an alert.
 */
#include "pgvigil/rules/overrides.h"

#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/threshold.h"
#include "rule_file_private.h"

#define SEVERITY "severity"

struct applying {
    const struct config_override *override;
    struct diag *diag;
};

#define COMPLAIN(a, place, ...) \
    diag_add((a)->diag, (place)->file, (place)->line, (place)->col, __VA_ARGS__)

/* ---- the threshold ---- */

struct unit_search {
    bool is_percent, is_milliseconds;
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && str_eq(s + n - m, end);
}

static void look_at_unit(const char *name, void *arg)
{
    struct unit_search *search = arg;
    if (ends_with(name, "_percent") || ends_with(name, "_percentage"))
        search->is_percent = true;
    if (ends_with(name, "_ms") || ends_with(name, "_milliseconds"))
        search->is_milliseconds = true;
}

/*
 * The number that the expression counts in. By Prometheus' convention that is seconds, bytes and
 * ratios; names that say otherwise are believed. A ratio is compared with at most 1, so a number
 * above that is a percentage (`100 * a / b > 90`).
 */
static double in_unit_of(const struct rule *rule, const struct config_threshold *threshold,
                         double old)
{
    struct unit_search search = {0};
    promql_each_metric(rule->expr, look_at_unit, &search);
    if (threshold->kind == THRESHOLD_FRACTION && (search.is_percent || fabs(old) > 1))
        return threshold->value * 100;
    if (threshold->kind == THRESHOLD_SECONDS && search.is_milliseconds)
        return threshold->value * 1000;
    return threshold->value;
}

static bool find_threshold(const struct applying *a, const struct rule_group *group,
                           const struct rule *rule, struct promql_threshold *found)
{
    const struct config_place *at = &a->override->threshold_at;
    size_t n = promql_threshold_find(rule->expr, found);
    if (n == 1 && found->len > 0)
        return true;
    if (n == 0) {
        COMPLAIN(a, at,
                 "'threshold': the expression of '%s' (%s:%d) has no comparison (> >= < <=) with a "
                 "number",
                 rule->name, group->file, rule->line);
    } else if (n == 1) {
        COMPLAIN(
            a, at,
            "'threshold': the expression of '%s' (%s:%d) compares with a calculation, not with "
            "a plain number",
            rule->name, group->file, rule->line);
    } else {
        COMPLAIN(a, at,
                 "'threshold': the expression of '%s' (%s:%d) has %zu comparisons with a number, "
                 "so it is not clear which one is meant: disable it and write a rule of your own",
                 rule->name, group->file, rule->line, n);
    }
    return false;
}

static void set_threshold(const struct applying *a, const struct rule_group *group,
                          struct rule *rule, struct buf *what)
{
    struct promql_threshold found;
    struct promql_error perr;
    struct buf text;
    if (!find_threshold(a, group, rule, &found))
        return;
    buf_init(&text, PROMQL_LENGTH_MAX + 64);
    buf_add(&text, rule->expr_text, found.pos);
    buf_add_double(&text, in_unit_of(rule, &a->override->threshold, found.value));
    buf_add_str(&text, rule->expr_text + found.pos + found.len);
    struct promql_expr *expr = promql_parse(text.data, &perr);
    if (expr == NULL) {
        COMPLAIN(a, &a->override->threshold_at, "'threshold': the expression of '%s' becomes %s",
                 rule->name, perr.text);
    } else {
        buf_printf(what, ", threshold %s (was %.*s)", a->override->threshold.text, (int)found.len,
                   rule->expr_text + found.pos);
        promql_destroy(&rule->expr);
        mem_free(rule->expr_text);
        rule->expr = expr;
        rule->expr_text = mem_strdup(text.data);
    }
    buf_deinit(&text);
}

/* ---- the rest ---- */

static void set_duration(const char *key, int64_t ms, int64_t *field, struct buf *what)
{
    char now[32], before[32];
    if (ms < 0)
        return;
    buf_printf(what, ", %s %s (was %s)", key, str_format_duration(ms, now, sizeof(now)),
               str_format_duration(*field, before, sizeof(before)));
    *field = ms;
}

static void set_severity(struct rule *rule, const char *severity, struct buf *what)
{
    const char *before = "none";
    for (size_t i = 0; i < rule->label_count; i++)
        if (str_eq(rule->labels[i].name, SEVERITY))
            before = rule->labels[i].value;
    buf_printf(what, ", severity %s (was %s)", severity, before);
    rule_templates_free(rule->label_templates, rule->label_count);
    rule_pair_put(&rule->labels, &rule->label_count, SEVERITY, severity);
    rule_pairs_sort(rule->labels, rule->label_count);
    rule_templates_parse(rule->name, rule->labels, rule->label_count, &rule->label_templates);
}

static void change_rule(const struct applying *a, const struct rule_group *group, struct rule *rule)
{
    const struct config_override *o = a->override;
    struct buf what;
    buf_init(&what, 4096);
    if (o->threshold.kind != THRESHOLD_NONE)
        set_threshold(a, group, rule, &what);
    set_duration("for", o->for_ms, &rule->for_ms, &what);
    set_duration("keep_firing_for", o->keep_firing_ms, &rule->keep_firing_ms, &what);
    if (o->severity != NULL)
        set_severity(rule, o->severity, &what);
    mem_free(rule->overridden);
    rule->overridden = what.len > 2 ? mem_strdup(what.data + 2) : NULL;
    buf_deinit(&what);
}

/* ---- the set ---- */

static bool is_meant(const struct applying *a, const struct rule *rule)
{
    return rule->is_alert && str_eq(rule->name, a->override->alert);
}

/* How many rules it was for. */
static size_t apply_to_group(const struct applying *a, struct rule_group *group)
{
    size_t kept = 0, found = 0;
    for (size_t i = 0; i < group->count; i++) {
        struct rule *rule = &group->rules[i];
        bool meant = is_meant(a, rule);
        found += meant;
        if (meant && a->override->disabled) {
            rule_free(rule);
            continue;
        }
        if (meant)
            change_rule(a, group, rule);
        group->rules[kept++] = *rule;
    }
    group->count = kept;
    return found;
}

/* Of rules that another override has not taken out. */
static void unknown_alert(const struct applying *a, const struct rule_set *set)
{
    const struct config_override *o = a->override;
    const char **names = mem_alloc_array(rule_set_count(set, true) + 1, sizeof(*names));
    size_t n = 0;
    for (size_t g = 0; g < set->count; g++) {
        for (size_t i = 0; i < set->groups[g].count; i++)
            if (set->groups[g].rules[i].is_alert)
                names[n++] = set->groups[g].rules[i].name;
    }
    const char *near = str_nearest(o->alert, names, n);
    if (near != NULL) {
        COMPLAIN(a, &o->at, "'rule_overrides': no alert is named '%s', did you mean '%s'?",
                 o->alert, near);
    } else {
        COMPLAIN(a, &o->at, "'rule_overrides': no alert is named '%s'", o->alert);
    }
    mem_free(names);
}

void rule_overrides_apply(struct rule_set *set, const struct config *config, struct diag *diag)
{
    struct applying a = {.diag = diag};
    for (size_t i = 0; i < config->override_count; i++) {
        size_t found = 0;
        a.override = &config->overrides[i];
        for (size_t g = 0; g < set->count; g++)
            found += apply_to_group(&a, &set->groups[g]);
        if (found == 0)
            unknown_alert(&a, set);
    }
}

struct rule_set *rule_set_of_config(const struct config *config, struct diag *diag)
{
    size_t before = diag->count;
    struct rule_set *set =
        rule_set_load((const char *const *)config->rules, config->rule_count, diag);
    if (set != NULL)
        rule_overrides_apply(set, config, diag);
    if (diag->count > before)
        rule_set_destroy(&set);
    return set;
}
