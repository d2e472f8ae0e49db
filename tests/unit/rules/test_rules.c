/* The life of alerts over a head, with a fake clock: hours pass in milliseconds. */
#include "rules_bench.h"

#include "pgvigil/base/clock.h"

#define RULE(more) "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5'" more "}]}]"

static void fires_at_once_and_resolves(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", labels: {severity: warning}, annotations: {s: '{{ $value }}'}"));
    run(&b, 5, 2);
    assert_log(&b, "");
    run(&b, 6, 2);
    assert_log(&b, "inactive>firing A;");
    struct alert_list *list = rules_list(b.rules, b.now.wall);
    assert_int_equal(list->n, 1);
    const struct alert *a = list->alerts[0];
    assert_string_equal(labels_get(&a->labels, "alertname"), "A");
    assert_string_equal(labels_get(&a->labels, "node"), "pg1");
    assert_string_equal(labels_get(&a->labels, "severity"), "warning");
    assert_string_equal(labels_get(&a->labels, "region"), "eu");
    assert_null(labels_get(&a->labels, "__name__"));
    assert_string_equal(labels_get(&a->annotations, "s"), "6");
    assert_int_equal(a->fired_at.ms, START + 3000);
    alert_list_unref(list);
    run(&b, 7, 1);
    list = rules_list(b.rules, b.now.wall);
    assert_string_equal(labels_get(&list->alerts[0]->annotations, "s"), "7");
    alert_list_unref(list);
    run(&b, 1, 1);
    assert_log(&b, "firing>resolved A;");
    run(&b, 1, RULES_RESOLVED_KEEP_MS / 1000);
    assert_log(&b, "resolved>inactive A;");
    teardown(&b);
}

static void waits_for_its_time(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", for: 10s"));
    run(&b, 6, 5);
    assert_log(&b, "inactive>pending A;");
    run(&b, 1, 1);
    assert_log(&b, "pending>inactive A;");
    run(&b, 6, 10);
    assert_log(&b, "inactive>pending A;");
    run(&b, 6, 1);
    assert_log(&b, "pending>firing A;");
    teardown(&b);
}

static void keeps_firing_over_short_gaps(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", keep_firing_for: 2m"));
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing A;");
    run(&b, 1, 119);
    run(&b, 6, 1);
    run(&b, 1, 120);
    assert_log(&b, "");
    run(&b, 1, 1);
    assert_log(&b, "firing>resolved A;");
    teardown(&b);
}

/* The wall clock jumps an hour; `for` and keep_firing_for do not notice. */
static void runs_on_the_monotonic_clock(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", for: 10s"));
    run(&b, 6, 2);
    b.now.wall = wall_add(b.now.wall, 3600 * 1000);
    run(&b, 6, 2);
    assert_log(&b, "inactive>pending A;");
    teardown(&b);
}

static void missing_data_neither_resolves_nor_fires(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(""));
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing A;");
    b.failing = true;
    run(&b, -1, 600);
    assert_log(&b, "firing>firing(held) A;");
    b.failing = false;
    run(&b, 6, 1);
    assert_log(&b, "firing>firing A;");
    b.failing = true;
    run(&b, -1, 1);
    assert_log(&b, "firing>firing(held) A;");
    b.failing = false; /* inputs are fresh and the result is empty: recovery */
    run(&b, 1, 1);
    assert_log(&b, "firing>resolved A;");
    teardown(&b);
}

/* The same where a rule stands between the collector and the alert, or two. */
static void missing_data_is_missed_through_recorded_series(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{record: 'r:x', expr: metric}, {record: 'r:y', "
              "expr: 'r:x * 1'}, {alert: A, expr: 'r:y > 5'}]}]");
    run(&b, 6, 3);
    assert_log(&b, "inactive>firing A;");
    b.failing = true;
    run(&b, -1, 3);
    assert_log(&b, "firing>firing(held) A;");
    b.failing = false;
    run(&b, 6, 2);
    assert_log(&b, "firing>firing A;");
    run(&b, 1, 1);
    assert_log(&b, "firing>resolved A;");
    teardown(&b);
}

/* An error is no recovery for those that look at what the rule records either. */
static void an_error_leaves_alerts_on_its_series(void **state)
{
    static const char *const one[] = {"pg1", NULL}, *const two[] = {"pg1", "pg2", NULL};
    static const double values[] = {1, 1};
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{record: 'r:x', expr: 'metric * on() group_left() "
              "other'}, {alert: A, expr: 'r:x > 5'}]}]");
    feed_nodes(&b, "other", one, values);
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing A;");
    for (int i = 0; i < 400; i++) { /* past the lookback */
        feed_nodes(&b, "other", two, values);
        run(&b, 6, 1);
    }
    assert_non_null(strstr(error_of(&b, 0), "duplicate series"));
    assert_log(&b, "firing>firing(held) A;");
    teardown(&b);
}

static void what_is_held_for_a_day_is_lost(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(""));
    run(&b, 6, 1);
    b.failing = true;
    run(&b, -1, 1);
    b.log[0] = '\0';
    b.now.mono = mono_add(b.now.mono, RULES_HELD_MAX_MS);
    b.now.wall = wall_add(b.now.wall, RULES_HELD_MAX_MS);
    run(&b, -1, 1);
    assert_log(&b, "firing>resolved A reason=lost;");
    teardown(&b);
}

static void a_removed_target_resolves_with_its_reason(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", keep_firing_for: 1h"));
    run(&b, 6, 1);
    b.log[0] = '\0';
    b.gone = true;
    run(&b, -1, 1);
    assert_log(&b, "firing>resolved A reason=removed;");
    teardown(&b);
}

static void a_restart_goes_on_where_it_was(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", for: 60s, keep_firing_for: 2m"));
    run(&b, 6, 50);
    struct alert_list *left = rules_list(b.rules, b.now.wall);
    assert_int_equal(left->alerts[0]->state, ALERT_PENDING);
    rules_destroy(&b.rules);
    open_rules(&b);
    b.log[0] = '\0';
    b.now.mono = mono_add(b.now.mono, 5000); /* down for 5 s */
    b.now.wall = wall_add(b.now.wall, 5000);
    rules_load(b.rules, parse(RULE(", for: 60s, keep_firing_for: 2m")), b.now);
    rules_restore(b.rules, left->alerts, left->n, wall_add(b.now.wall, -5000), b.now);
    run(&b, 6, 11);
    assert_log(&b, "pending>pending A;"); /* its time was moved, and is stored */
    run(&b, 6, 1);
    assert_log(&b, "pending>firing A;");
    alert_list_unref(left);
    teardown(&b);
}

/* It fired; that the wall clock was set back while the agent was down does not take it back. */
static void a_restart_on_an_earlier_clock_keeps_what_fires(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", for: 10s"));
    run(&b, 6, 12);
    struct alert_list *left = rules_list(b.rules, b.now.wall);
    assert_int_equal(left->alerts[0]->state, ALERT_FIRING);
    rules_destroy(&b.rules);
    head_destroy(&b.head);
    b.head = head_create(HEAD_KEEP_MS, HEAD_BYTES_MAX);
    open_rules(&b);
    b.log[0] = '\0';
    b.now.wall = wall_add(b.now.wall, -3600 * 1000);
    rules_load(b.rules, parse(RULE(", for: 10s")), b.now);
    rules_restore(b.rules, left->alerts, left->n, b.now.wall, b.now);
    run(&b, 6, 3);
    assert_log(&b, "");
    alert_list_unref(left);
    teardown(&b);
}

static void an_alert_of_a_rule_that_is_gone_is_resolved(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(""));
    run(&b, 6, 1);
    struct alert_list *left = rules_list(b.rules, b.now.wall);
    b.log[0] = '\0';
    rules_load(b.rules, parse("groups: [{name: g, rules: []}]"), b.now);
    assert_log(&b, "firing>resolved A reason=removed;");
    rules_restore(b.rules, left->alerts, left->n, b.now.wall, b.now);
    assert_log(&b, "firing>resolved A reason=removed;");
    alert_list_unref(left);
    teardown(&b);
}

static void a_reload_keeps_what_stays(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(", for: 10s"));
    run(&b, 6, 5);
    b.log[0] = '\0';
    rules_load(b.rules, parse(RULE(", for: 5s")), b.now);
    run(&b, 6, 1);
    assert_log(&b, "pending>firing A;");
    rules_load(b.rules, parse(RULE(", for: 1h")), b.now);
    run(&b, 6, 1);
    assert_log(&b, "firing>pending A;");
    teardown(&b);
}

static void recorded_series_feed_later_rules(void **state)
{
    struct bench b;
    (void)state;
    setup(&b,
          "groups: [{name: g, rules: [{record: 'm:double', expr: 'metric * 2', labels: {k: v}}, "
          "{alert: A, expr: 'm:double{k=\"v\"} > 10'}]}]");
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing A;");
    run(&b, 1, 1);
    assert_log(&b, "firing>resolved A;");
    teardown(&b);
}

static void alerts_are_series(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5'}, {alert: B, "
              "expr: 'ALERTS{alertname=\"A\",alertstate=\"firing\",node=\"pg1\"} == 1'}]}]");
    run(&b, 6, 1);
    assert_non_null(strstr(b.log, "inactive>firing B;"));
    b.log[0] = '\0';
    run(&b, 1, 1);
    assert_non_null(strstr(b.log, "firing>resolved B;"));
    teardown(&b);
}

static void an_error_leaves_alerts_as_they_are(void **state)
{
    static const char *const nodes[] = {"pg1", "pg1", NULL};
    struct bench b;
    struct rules_stats stats;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5 and on (node) other'}]}]");
    feed_nodes(&b, "other", nodes, (const double[]){1, 1});
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing A;");
    rules_load(b.rules,
               parse("groups: [{name: g, rules: [{alert: A, expr: 'metric * on () "
                     "{__name__=~\"metric|other\"} > 5'}]}]"),
               b.now);
    run(&b, 6, 1); /* two on the right side */
    assert_log(&b, "");
    assert_non_null(strstr(error_of(&b, 0), "many-to-many"));
    rules_stats(b.rules, &stats);
    assert_int_equal(stats.failures_total, 1);
    assert_int_equal(stats.firing, 1);
    teardown(&b);
}

/* Rule files may hold them, as for Prometheus; it is an error of the run. */
static void texts_and_ranges_are_no_results(void **state)
{
    struct bench b;
    struct rules_stats stats;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'metric[5m]'}, {record: b, expr: "
              "'\"x\"'}, {record: c, expr: 'metric[5m]'}]}]");
    run(&b, 6, 1);
    assert_log(&b, "");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(error_of(&b, i), "rule result is not a vector or scalar");
    rules_stats(b.rules, &stats);
    assert_int_equal(stats.failures_total, 3);
    teardown(&b);
}

static void a_late_tick_is_skipped_and_counted(void **state)
{
    struct bench b;
    struct rules_stats stats;
    (void)state;
    setup(&b, RULE(""));
    run(&b, 1, 3);
    b.now.mono = mono_add(b.now.mono, 10000);
    b.now.wall = wall_add(b.now.wall, 10000);
    run(&b, 1, 1);
    rules_stats(b.rules, &stats);
    assert_int_equal(stats.evaluations_total, 4);
    assert_int_equal(stats.missed_total, 10);
    teardown(&b);
}

/* The tick's timer runs a few milliseconds late now and then: no evaluation is lost to that. */
static void jitter_costs_no_evaluation(void **state)
{
    static const int64_t late_ms[] = {3, 0, 5, 1, 0, 4, 0};
    struct bench b;
    struct rules_stats stats;
    (void)state;
    setup(&b, RULE(""));
    struct now begin = b.now;
    for (size_t i = 0; i < ARRAY_LEN(late_ms); i++) {
        int64_t at = 700 + (int64_t)i * 1000 + late_ms[i];
        rules_tick(b.rules, (struct now){mono_add(begin.mono, at), wall_add(begin.wall, at)});
    }
    rules_stats(b.rules, &stats);
    assert_int_equal(stats.evaluations_total, ARRAY_LEN(late_ms));
    assert_int_equal(stats.missed_total, 0);
    teardown(&b);
}

/* The report is a copy: it outlives the rules, and tells runs only once there was one. */
static void reports_rules_and_their_last_run(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(""));
    struct rule_report *before = rules_report(b.rules);
    rules_tick(b.rules, b.now);
    struct rule_report *after = rules_report(b.rules);
    struct now ran = b.now;
    teardown(&b);
    assert_int_equal(before->n, 1);
    assert_int_equal(before->groups[0].n, 1);
    assert_string_equal(before->groups[0].rules[0].name, "A");
    assert_true(before->groups[0].rules[0].is_alert);
    assert_false(wall_is_set(before->groups[0].rules[0].run_at));
    assert_false(wall_is_set(before->groups[0].run_at));
    assert_int_equal(after->groups[0].rules[0].run_at.ms, ran.wall.ms);
    assert_int_equal(after->groups[0].run_at.ms, ran.wall.ms);
    assert_string_equal(after->groups[0].rules[0].error, "");
    rule_report_unref(before);
    rule_report_unref(after);
}

#define TWO_RULES(one, two)                                            \
    "groups: [{name: g, rules: [{alert: A, expr: 'metric > " one       \
    "', labels: {severity: warning}}, {alert: A, expr: 'metric > " two \
    "', labels: {severity: critical}}]}]"

static void a_reload_tells_rules_of_one_name_apart(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, TWO_RULES("100", "5")); /* only the second fires */
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing A;");
    rules_load(b.rules, parse(TWO_RULES("100", "5")), b.now);
    run(&b, 6, 1);
    assert_log(&b, "");
    rules_load(b.rules, parse(TWO_RULES("90", "5")), b.now);
    run(&b, 6, 1);
    assert_log(&b, "");
    teardown(&b);
}

static void a_restart_with_a_changed_expression_keeps_the_alert(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, RULE(""));
    run(&b, 6, 1);
    struct alert_list *left = rules_list(b.rules, b.now.wall);
    rules_destroy(&b.rules);
    open_rules(&b);
    b.log[0] = '\0';
    rules_load(b.rules, parse("groups: [{name: g, rules: [{alert: A, expr: 'metric > 4'}]}]"),
               b.now);
    rules_restore(b.rules, left->alerts, left->n, b.now.wall, b.now);
    run(&b, 6, 1);
    assert_log(&b, "");
    alert_list_unref(left);
    left = rules_list(b.rules, b.now.wall);
    assert_string_equal(left->alerts[0]->expr, "metric > 4");
    alert_list_unref(left);
    teardown(&b);
}

static size_t alerts_series(struct bench *b)
{
    double n = ask(b, "count({__name__=~\"ALERTS|r:.*\"})");
    return isnan(n) ? 0 : (size_t)n;
}

static void series_of_removed_rules_end(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5'}, "
              "{record: 'r:x', expr: 'metric'}]}, {name: h, rules: [{record: 'r:y', expr: "
              "metric}]}]");
    run(&b, 6, 1);
    assert_int_equal(alerts_series(&b), 3);
    rules_load(b.rules, parse("groups: [{name: g, rules: [{alert: B, expr: 'metric > 50'}]}]"),
               b.now);
    b.now.mono = mono_add(b.now.mono, 1000);
    b.now.wall = wall_add(b.now.wall, 1000);
    feed(&b);
    rules_tick(b.rules, b.now);
    assert_int_equal(alerts_series(&b), 0);
    teardown(&b);
}

/* Names of groups are unique in a file only: two of one name do not end each other's series. */
static void groups_of_two_files_may_share_a_name(void **state)
{
    static const char one[] = "groups: [{name: g, rules: [{record: 'r:x', expr: metric}]}]";
    static const char two[] = "groups: [{name: g, rules: [{record: 'r:y', expr: metric}]}]";
    char dir[] = "/tmp/pgvigil-rules-XXXXXX", path[64], glob[64];
    const char *const globs[] = {glob};
    const char *const texts[] = {one, two};
    struct bench b;
    struct diag diag;
    (void)state;
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%d.yml", dir, i);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
    }
    snprintf(glob, sizeof(glob), "%s/*.yml", dir);
    setup(&b, RULE(""));
    diag_init(&diag);
    struct rule_set *set = rule_set_load(globs, 1, &diag);
    assert_non_null(set);
    rules_load(b.rules, set, b.now);
    run(&b, 1, 3);
    assert_int_equal(alerts_series(&b), 2);
    diag_deinit(&diag);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%d.yml", dir, i);
        unlink(path);
    }
    rmdir(dir);
    teardown(&b);
}

/* What tells their sources apart is the whole name. */
static void names_of_groups_may_begin_alike(void **state)
{
#define SIXTY "a-name-of-a-group-that-says-a-lot-about-what-its-rules-are-for"
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: " SIXTY "-1, rules: [{record: r, expr: metric}]}, "
              "{name: " SIXTY "-2, rules: [{record: r, expr: metric}]}]");
    run(&b, 6, 1);
    assert_string_not_equal(b.sources_of[0], b.sources_of[1]);
    teardown(&b);
}

/* The engine does nothing else meanwhile. */
static void a_large_group_is_loaded_fast(void **state)
{
    struct bench b;
    struct buf text;
    (void)state;
    buf_init(&text, 4 * 1024 * 1024);
    buf_add_str(&text, "groups: [{name: g, rules: [");
    for (int i = 0; i < 9000; i++)
        buf_printf(&text, "{record: 'a_long_name_of_a_record:%d', expr: '1'},", i);
    buf_add_str(&text, "]}]");
    setup(&b, text.data);
    struct rule_set *set = parse(text.data);
    uint64_t began = clock_stage_ns();
    rules_load(b.rules, set, b.now);
    uint64_t took_ms = (clock_stage_ns() - began) / 1000000;
    if (took_ms > 1000) /* under the sanitizers, on a busy machine */
        fail_msg("%llu ms", (unsigned long long)took_ms);
    buf_deinit(&text);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_at_once_and_resolves),
        cmocka_unit_test(waits_for_its_time),
        cmocka_unit_test(keeps_firing_over_short_gaps),
        cmocka_unit_test(runs_on_the_monotonic_clock),
        cmocka_unit_test(missing_data_neither_resolves_nor_fires),
        cmocka_unit_test(missing_data_is_missed_through_recorded_series),
        cmocka_unit_test(an_error_leaves_alerts_on_its_series),
        cmocka_unit_test(what_is_held_for_a_day_is_lost),
        cmocka_unit_test(a_removed_target_resolves_with_its_reason),
        cmocka_unit_test(a_restart_goes_on_where_it_was),
        cmocka_unit_test(a_restart_on_an_earlier_clock_keeps_what_fires),
        cmocka_unit_test(an_alert_of_a_rule_that_is_gone_is_resolved),
        cmocka_unit_test(a_reload_keeps_what_stays),
        cmocka_unit_test(recorded_series_feed_later_rules),
        cmocka_unit_test(alerts_are_series),
        cmocka_unit_test(an_error_leaves_alerts_as_they_are),
        cmocka_unit_test(texts_and_ranges_are_no_results),
        cmocka_unit_test(a_late_tick_is_skipped_and_counted),
        cmocka_unit_test(jitter_costs_no_evaluation),
        cmocka_unit_test(reports_rules_and_their_last_run),
        cmocka_unit_test(a_reload_tells_rules_of_one_name_apart),
        cmocka_unit_test(a_restart_with_a_changed_expression_keeps_the_alert),
        cmocka_unit_test(series_of_removed_rules_end),
        cmocka_unit_test(groups_of_two_files_may_share_a_name),
        cmocka_unit_test(names_of_groups_may_begin_alike),
        cmocka_unit_test(a_large_group_is_loaded_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
