/*
 * One test group is one replay: its series are given, every group of rules runs at each step,
 * checks of alerts are done at their step and those of expressions at the end, when all samples are
 * there, which is promtool's order and shows in `offset -5m` and `@ end()`. Invariant: a failed
 * check never ends the group; an error of a rule does, because nothing behind it can be trusted.
 */
#include <glob.h>
#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/series_notation.h"
#include "pgvigil/rules/replay.h"
#include "rule_test_parts.h"

#define ARENA_MAX   ((size_t)512 * 1024 * 1024)
#define FAILURE_MAX ((size_t)4 * 1024 * 1024)

/* A file that runs. */
struct run {
    const struct rule_test *test;
    const struct rule_test_opts *opts;
    struct rule_test_result result;
    const char **files; /* of rules; with glob's own characters escaped */
    size_t file_count;
};

struct group_run {
    struct run *run;
    const struct test_group *group;
    struct replay *replay;
    struct arena *arena; /* of one check */
    size_t next_alert;
    uint64_t failures; /* of rules, told so far */
    bool is_broken;
};

static void fail(struct run *run, struct buf *text)
{
    run->result.failures++;
    run->opts->failed(buf_ok(text) ? text->data : "the result is too long to be shown",
                      run->opts->arg);
    buf_deinit(text);
}

static void fail_group(struct group_run *g, const struct input_series *at, const char *text)
{
    struct buf out;
    buf_init(&out, FAILURE_MAX);
    if (at != NULL)
        buf_printf(&out, "%s:%d:%d: ", g->run->test->file, at->line, at->col);
    buf_add_str(&out, text);
    fail(g->run, &out);
}

/* ---- input ---- */

static bool give_series(struct group_run *g, const struct input_series *input)
{
    struct series_line line;
    struct err err = {0};
    arena_reset(g->arena);
    const char *text = arena_printf(g->arena, "%s %s", input->series, input->values);
    if (!series_labels_parse(g->arena, input->series, &line.labels, &err) ||
        !series_line_parse(g->arena, text, &line, &err)) {
        fail_group(g, input, err.text);
        return false;
    }
    if (line.has_native || line.is_start_times) {
        fail_group(g, input, "native histograms are not supported");
        return false;
    }
    struct point *points = arena_alloc_array(g->arena, line.n, sizeof(*points));
    size_t n = 0;
    for (size_t i = 0; i < line.n; i++) {
        int64_t t = g->group->start_ms + (int64_t)i * g->group->interval_ms;
        if (!line.items[i].is_gap)
            points[n++] = (struct point){t, line.items[i].v};
    }
    /* of a series that is named twice the last one counts */
    replay_forget(g->replay, &line.labels);
    bool ok = replay_add(g->replay, &line.labels, points, n, &err);
    if (!ok)
        fail_group(g, input, err.text);
    return ok;
}

/* ---- alerts ---- */
static int by_alert(const void *a, const void *b)
{
    const struct shown_alert *x = a, *y = b;
    int order = labels_compare(&x->labels, &y->labels);
    return order != 0 ? order : labels_compare(&x->annotations, &y->annotations);
}

static void sort_alerts(struct shown_alerts *alerts)
{
    if (alerts->n > 1)
        qsort(alerts->v, alerts->n, sizeof(*alerts->v), by_alert);
}

static bool same_alerts(const struct shown_alerts *a, const struct shown_alerts *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (by_alert(&a->v[i], &b->v[i]) != 0)
            return false;
    return true;
}

static struct shown_alerts firing_alerts(struct arena *arena, const struct alert_list *list,
                                         const char *name)
{
    struct shown_alerts out = {.v = arena_alloc_array(arena, list->n, sizeof(*out.v))};
    for (size_t i = 0; i < list->n; i++) {
        const struct alert *a = list->alerts[i];
        if (a->state == ALERT_FIRING && str_eq(a->rule, name))
            out.v[out.n++] = (struct shown_alert){a->labels, a->annotations};
    }
    sort_alerts(&out);
    return out;
}

static void check_alert(struct group_run *g, const struct alert_check *check, wall_ms at)
{
    struct alert_list *list = rules_list(replay_rules(g->replay), at);
    struct shown_alerts got, expected = check->expected;
    char when[64];
    struct buf out;
    g->run->result.checks++;
    arena_reset(g->arena);
    got = firing_alerts(g->arena, list, check->alertname);
    sort_alerts(&expected);
    if (!same_alerts(&expected, &got)) {
        buf_init(&out, FAILURE_MAX);
        if (*g->group->name != '\0')
            buf_printf(&out, "    name: %s,\n", g->group->name);
        buf_printf(&out, "    alertname: %s, time: %s, \n        exp:", check->alertname,
                   str_format_duration(check->eval_ms, when, sizeof(when)));
        print_alerts(&expected, &out);
        buf_add_str(&out, ", \n        got:");
        print_alerts(&got, &out);
        fail(g->run, &out);
    }
    alert_list_unref(list);
}

static void tell_error(struct group_run *g, const char *rule, const char *error, wall_ms at)
{
    struct buf out;
    buf_init(&out, FAILURE_MAX);
    buf_printf(&out, "    rule: %s, time: ", rule);
    print_go_duration(at.ms - g->group->start_ms, &out);
    buf_printf(&out, ", err: %s", error);
    fail(g->run, &out);
}

/* Errors of rules at this step; true if there is one. */
static bool tell_errors(struct group_run *g, wall_ms at)
{
    const char *clash = replay_clash(g->replay);
    struct rules_stats stats;
    rules_stats(replay_rules(g->replay), &stats);
    if (clash != NULL)
        tell_error(g, clash, "duplicate sample for timestamp", at);
    if (stats.failures_total == 0)
        return clash != NULL;
    struct rule_report *report = rules_report(replay_rules(g->replay));
    for (size_t i = 0; i < report->n; i++) {
        for (size_t k = 0; k < report->groups[i].n; k++) {
            const struct rule_shown *rule = &report->groups[i].rules[k];
            if (*rule->error != '\0')
                tell_error(g, rule->name, rule->error, at);
        }
    }
    rule_report_unref(report);
    return true;
}

static bool on_step(struct replay *replay, wall_ms at, void *arg)
{
    struct group_run *g = arg;
    const struct test_group *group = g->group;
    (void)replay;
    g->is_broken = tell_errors(g, at);
    if (g->is_broken)
        return false;
    /* the checks whose last step at or before their time this is */
    for (; g->next_alert < group->alert_count; g->next_alert++) {
        const struct alert_check *check = &group->alerts[g->next_alert];
        if (group->start_ms + check->eval_ms >= at.ms + g->run->test->evaluation_interval_ms)
            break;
        check_alert(g, check, at);
    }
    return true;
}

/* ---- expressions ---- */

static int by_sample(const void *a, const void *b)
{
    return labels_compare(&((const struct shown_sample *)a)->labels,
                          &((const struct shown_sample *)b)->labels);
}

static void sort_samples(struct shown_samples *samples)
{
    if (samples->n > 1)
        qsort(samples->v, samples->n, sizeof(*samples->v), by_sample);
}

/* NaN equals nothing, as in Go; fuzzily, the next float on either side is the same. */
static bool same_float(double a, double b, bool fuzzy)
{
    return a == b ||
           (fuzzy && (nextafter(a, -(double)INFINITY) == b || nextafter(a, (double)INFINITY) == b));
}

static bool same_samples(const struct shown_samples *a, const struct shown_samples *b, bool fuzzy)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (by_sample(&a->v[i], &b->v[i]) != 0 || !same_float(a->v[i].value, b->v[i].value, fuzzy))
            return false;
    return true;
}

static bool evaluate(struct group_run *g, const struct expr_check *check, struct shown_samples *out,
                     struct err *err)
{
    const struct promql_limits limits = {.max_samples = 50000000,
                                         .subquery_step_ms = g->run->test->evaluation_interval_ms};
    struct promql_error perr;
    struct promql_value value;
    struct promql_expr *expr = promql_parse(check->expr, &perr);
    if (expr == NULL)
        return err_set(err, ERR_INVALID, "%s", perr.text);
    bool ok = promql_instant(expr, replay_reader(g->replay), g->group->start_ms + check->eval_ms,
                             &limits, g->arena, &value, err);
    promql_destroy(&expr);
    if (!ok)
        return false;
    if (value.type != PROMQL_VECTOR && value.type != PROMQL_SCALAR)
        return err_set(err, ERR_INVALID, "rule result is not a vector or scalar");
    out->n = value.type == PROMQL_SCALAR ? 1 : value.n;
    out->v = arena_alloc_array(g->arena, out->n, sizeof(*out->v));
    if (value.type == PROMQL_SCALAR)
        out->v[0].value = value.scalar;
    for (size_t i = 0; value.type == PROMQL_VECTOR && i < out->n; i++)
        out->v[i] = (struct shown_sample){value.vector[i].labels, value.vector[i].value};
    sort_samples(out);
    return true;
}

static bool expected_samples(struct group_run *g, const struct expr_check *check,
                             struct shown_samples *out, struct err *err)
{
    out->v = arena_alloc_array(g->arena, check->expected_count, sizeof(*out->v));
    for (size_t i = 0; i < check->expected_count; i++) {
        const struct expected_sample *from = &check->expected[i];
        struct shown_sample *to = &out->v[out->n++];
        to->value = from->value;
        if (*from->labels != '\0' && !series_labels_parse(g->arena, from->labels, &to->labels, err))
            return err_wrap(err, "labels");
    }
    sort_samples(out);
    return true;
}

static void check_expr(struct group_run *g, const struct expr_check *check)
{
    struct shown_samples got = {0}, expected = {0};
    struct err err = {0};
    struct buf out;
    char when[64];
    g->run->result.checks++;
    arena_reset(g->arena);
    bool ok = evaluate(g, check, &got, &err) && expected_samples(g, check, &expected, &err);
    if (ok && same_samples(&expected, &got, g->run->test->fuzzy))
        return;
    buf_init(&out, FAILURE_MAX);
    buf_add_str(&out, "    expr: ");
    print_go_quoted(check->expr, &out);
    buf_printf(&out, ", time: %s,", str_format_duration(check->eval_ms, when, sizeof(when)));
    if (ok) {
        buf_add_str(&out, "\n        exp: ");
        print_samples(&expected, &out);
        buf_add_str(&out, "\n        got: ");
        print_samples(&got, &out);
    } else {
        buf_printf(&out, " err: %s", err.text);
    }
    fail(g->run, &out);
}

/* ---- a group, a file ---- */

static int64_t last_time(const struct test_group *group)
{
    int64_t ms = 0;
    for (size_t i = 0; i < group->alert_count; i++)
        ms = i64_max(ms, group->alerts[i].eval_ms);
    for (size_t i = 0; i < group->expr_count; i++)
        ms = i64_max(ms, group->exprs[i].eval_ms);
    return ms;
}

static void run_steps(struct group_run *g)
{
    struct err err = {0};
    const struct test_group *group = g->group;
    for (size_t i = 0; i < group->input_count; i++)
        if (!give_series(g, &group->inputs[i]))
            return;
    if (!replay_run(g->replay, (wall_ms){group->start_ms + last_time(group)}, &err)) {
        fail_group(g, NULL, err.text);
        return;
    }
    for (size_t i = 0; i < group->expr_count && !g->is_broken; i++)
        check_expr(g, &group->exprs[i]);
}

static void run_group(struct run *run, const struct test_group *group, struct rule_set *set)
{
    const struct rule_test *test = run->test;
    struct group_run g = {.run = run, .group = group};
    g.replay =
        replay_create(&(struct replay_opts){.evaluation_interval_ms = test->evaluation_interval_ms,
                                            .one_interval = true,
                                            .like_promtool = true,
                                            .external_labels = group->external_labels.v,
                                            .external_label_count = group->external_labels.n,
                                            .external_url = group->external_url,
                                            .group_order = test->group_order,
                                            .group_order_count = test->group_order_count,
                                            .start = {group->start_ms},
                                            .max_points = RULE_TEST_POINTS_MAX,
                                            .on_step = on_step,
                                            .arg = &g},
                      set);
    g.arena = arena_create(64 * 1024, ARENA_MAX);
    run_steps(&g);
    arena_destroy(&g.arena);
    replay_destroy(&g.replay);
}

static bool fits(struct run *run, const struct test_group *group)
{
    size_t max = run->opts->max_steps > 0 ? run->opts->max_steps : RULE_TEST_STEPS_MAX;
    struct buf out;
    if (last_time(group) / run->test->evaluation_interval_ms < (int64_t)max)
        return true;
    buf_init(&out, FAILURE_MAX);
    buf_printf(&out, "more than %zu steps up to the largest eval_time", max);
    fail(run, &out);
    return false;
}

/* A fresh set for each group: a replay takes it over. NULL: its findings are told. */
static struct rule_set *load_rules(struct run *run)
{
    struct diag diag;
    struct buf out;
    diag_init(&diag);
    struct rule_set *set = rule_set_load(run->files, run->file_count, &diag);
    if (set == NULL) {
        buf_init(&out, FAILURE_MAX);
        diag_print(&diag, &out);
        if (out.len > 0)
            out.data[--out.len] = '\0';
        fail(run, &out);
    }
    diag_deinit(&diag);
    return set;
}

/* With a backslash before what glob() would take for a pattern. */
static char *escaped(const char *path)
{
    struct buf out;
    buf_init(&out, 2 * strlen(path) + 1);
    for (; *path != '\0'; path++) {
        if (strchr("*?[\\", *path) != NULL)
            buf_add_char(&out, '\\');
        buf_add_char(&out, *path);
    }
    return buf_take(&out, NULL);
}

static void find_rule_files(struct run *run)
{
    const struct rule_test *test = run->test;
    for (size_t i = 0; i < test->rule_glob_count; i++) {
        glob_t found = {0};
        bool none = glob(test->rule_globs[i], 0, NULL, &found) != 0;
        if (none && run->opts->no_match != NULL)
            run->opts->no_match(test->rule_patterns[i], run->opts->arg);
        for (size_t k = 0; !none && k < found.gl_pathc; k++) {
            run->files = mem_realloc_array(run->files, run->file_count + 1, sizeof(*run->files));
            run->files[run->file_count++] = escaped(found.gl_pathv[k]);
        }
        globfree(&found);
    }
}

struct rule_test_result rule_test_run(const struct rule_test *test,
                                      const struct rule_test_opts *opts)
{
    struct run run = {.test = test, .opts = opts};
    find_rule_files(&run);
    for (size_t i = 0; i < test->group_count; i++) {
        const struct test_group *group = &test->groups[i];
        if ((opts->wanted != NULL && !opts->wanted(group->name, opts->arg)) || !fits(&run, group))
            continue;
        struct rule_set *set = load_rules(&run);
        if (set == NULL)
            break; /* it would be the same for the other groups */
        run_group(&run, group, set);
    }
    for (size_t i = 0; i < run.file_count; i++)
        mem_free((void *)(uintptr_t)run.files[i]);
    mem_free(run.files);
    return run.result;
}
