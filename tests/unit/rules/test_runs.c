/* What a run of a group does beside the life of its alerts: Prometheus' details. */
#include "rules_bench.h"

#include "pgvigil/base/log.h"

static const char *const two_nodes[] = {"pg1", "pg2", NULL};
static const char *const same_node[] = {"pg1", NULL};

static void query_offset_moves_evaluation_and_samples(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, query_offset: 5s, rules: [{record: 'r:x', expr: metric}, "
              "{alert: A, expr: 'metric > 5'}]}]");
    run(&b, 7, 5);
    assert_log(&b, ""); /* five seconds ago there was nothing */
    run(&b, 1, 1);
    assert_log(&b, "inactive>firing A;");
    int64_t first = b.now.wall.ms - 5000;
    assert_true(ask_at(&b, "r:x", first) == 7);
    assert_true(isnan(ask_at(&b, "r:x", first - 1)));
    assert_true(ask_at(&b, "ALERTS", first) == 1);
    assert_true(ask_at(&b, "timestamp(ALERTS)", b.now.wall.ms) * 1000 == (double)first);
    struct alert_list *list = rules_list(b.rules, b.now.wall);
    assert_int_equal(list->alerts[0]->active_at.ms, b.now.wall.ms); /* not moved */
    alert_list_unref(list);
    struct rule_report *report = rules_report(b.rules);
    assert_int_equal(report->groups[0].query_offset_ms, 5000);
    rule_report_unref(report);
    teardown(&b);
}

static void a_limit_ends_all_alerts_of_the_rule(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, limit: 1, rules: [{alert: A, expr: 'other > 5'}, "
              "{record: 'r:x', expr: other}]}]");
    feed_nodes(&b, "other", same_node, (const double[]){9});
    run(&b, -1, 1);
    assert_log(&b, "inactive>firing A;");
    assert_true(ask(&b, "r:x") == 9);
    pass(&b, 1000);
    feed_nodes(&b, "other", two_nodes, (const double[]){9, 9});
    rules_tick(b.rules, b.now);
    assert_log(&b, "firing>resolved A reason=limit;");
    assert_string_equal(error_of(&b, 0), "exceeded limit of 1 with 2 alerts");
    assert_true(isnan(ask(&b, "ALERTS")));
    assert_string_equal(error_of(&b, 1), "exceeded limit of 1 with 2 series");
    pass(&b, 1000);
    feed_nodes(&b, "other", two_nodes, (const double[]){9, 1});
    rules_tick(b.rules, b.now);
    assert_log(&b, "resolved>firing A;");
    assert_string_equal(error_of(&b, 0), "");
    teardown(&b);
}

/* keep_firing_for counts: the alert that is kept and the new one are two. */
static void a_limit_counts_what_is_kept(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, limit: 1, rules: [{alert: A, expr: 'other > 5', "
              "keep_firing_for: 1m}]}]");
    feed_nodes(&b, "other", two_nodes, (const double[]){9, 1});
    run(&b, -1, 1);
    assert_log(&b, "inactive>firing A;");
    pass(&b, 1000);
    feed_nodes(&b, "other", two_nodes, (const double[]){1, 1});
    rules_tick(b.rules, b.now);
    assert_log(&b, "");
    pass(&b, 1000);
    feed_nodes(&b, "other", two_nodes, (const double[]){1, 9});
    rules_tick(b.rules, b.now);
    assert_log(&b, "firing>resolved A reason=limit;");
    teardown(&b);
}

/* Labels of the rule make two results one: the run is dropped, alerts and series stay. */
static void doubles_drop_the_run(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: ["
              "{alert: A, expr: 'other > 5', labels: {node: all}}, "
              "{record: 'r:x', expr: 'other > 5', labels: {node: ''}}]}]");
    feed_nodes(&b, "other", two_nodes, (const double[]){9, 1});
    run(&b, -1, 1);
    assert_log(&b, "inactive>firing A;");
    assert_true(ask(&b, "r:x{node=\"\"}") == 9);
    pass(&b, 1000);
    feed_nodes(&b, "other", two_nodes, (const double[]){9, 9});
    rules_tick(b.rules, b.now);
    assert_log(&b, "");
    assert_string_equal(
        error_of(&b, 0),
        "vector contains metrics with the same labelset after applying alert labels");
    assert_string_equal(
        error_of(&b, 1),
        "vector contains metrics with the same labelset after applying rule labels");
    assert_true(ask(&b, "r:x") == 9);
    assert_true(ask(&b, "ALERTS") == 1);
    pass(&b, 1000);
    feed_nodes(&b, "other", two_nodes, (const double[]){1, 1});
    rules_tick(b.rules, b.now);
    assert_log(&b, "firing>resolved A;");
    assert_true(isnan(ask(&b, "r:x")));
    assert_true(isnan(ask(&b, "ALERTS")));
    teardown(&b);
}

static void labels_of_recorded_series(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, labels: {team: db, node: group}, rules: ["
              "{record: 'r:x', expr: metric, labels: {node: rule}}, "
              "{record: 'r:y', expr: metric, labels: {team: '', new: a}}, "
              "{record: 'r:z', expr: '3'}]}]");
    run(&b, 6, 1);
    assert_true(ask(&b, "r:x{team=\"db\",node=\"rule\"}") == 6);
    assert_true(ask(&b, "r:y{team=\"\",node=\"group\",new=\"a\"}") == 6);
    assert_true(ask(&b, "r:z{team=\"db\"}") == 3);
    run(&b, -1, 1);
    assert_true(isnan(ask(&b, "r:x")));
    assert_true(ask(&b, "r:z") == 3);
    teardown(&b);
}

static void values_and_annotations_follow_and_labels_stay(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5', "
              "annotations: {s: '{{ $value }}'}}]}]");
    run(&b, 6, 1);
    struct alert_list *before = rules_list(b.rules, b.now.wall);
    run(&b, 8, 1);
    struct alert_list *after = rules_list(b.rules, b.now.wall);
    assert_log(&b, "inactive>firing A;");
    assert_true(after->alerts[0]->value == 8);
    assert_string_equal(labels_get(&after->alerts[0]->annotations, "s"), "8");
    assert_true(labels_equal(&before->alerts[0]->labels, &after->alerts[0]->labels));
    assert_int_equal(before->alerts[0]->fired_at.ms, after->alerts[0]->fired_at.ms);
    alert_list_unref(before);
    alert_list_unref(after);
    teardown(&b);
}

static void templates_can_query_and_know_the_url(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5', annotations: {"
              "sum: '{{ query \"sum(other)\" | first | value }}', "
              "of: '{{ with printf \"other{node=%q}\" $labels.node | query }}"
              "{{ . | first | value }}{{ end }}', "
              "none: '{{ range query \"nothing\" }}x{{ end }}', "
              "absent: '{{ query \"absent(nothing{a=\\\"b\\\"})\" | first | label \"a\" }}', "
              "bad: '{{ query \"sum(\" }}', url: '{{ $externalURL }}'}}]}]");
    feed_nodes(&b, "other", two_nodes, (const double[]){3, 4});
    run(&b, 6, 1);
    struct alert_list *list = rules_list(b.rules, b.now.wall);
    const struct labels *a = &list->alerts[0]->annotations;
    assert_string_equal(labels_get(a, "sum"), "7");
    assert_string_equal(labels_get(a, "of"), "3");
    assert_null(labels_get(a, "x"));
    assert_string_equal(labels_get_or_empty(a, "none"), "");
    assert_string_equal(labels_get(a, "absent"), "b");
    assert_non_null(strstr(labels_get(a, "bad"), "<error expanding template: "));
    assert_string_equal(labels_get(a, "url"), "http://agent:9432");
    alert_list_unref(list);
    teardown(&b);
}

/* What each alert's query needs is not added up: the last alert is told as well as the first. */
static void queries_of_many_alerts_fit(void **state)
{
    enum { NODES = 600 };
    static char names[NODES][16];
    static const char *nodes[NODES + 1];
    static double values[NODES];
    struct bench b;
    (void)state;
    for (size_t i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        nodes[i] = names[i];
        values[i] = 9;
    }
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: 'other > 5', annotations: {"
              "all: '{{ query \"count(other * on(node) group_left() other)\" | first | value }}'"
              "}}]}]");
    feed_nodes(&b, "other", nodes, values);
    run(&b, 6, 1);
    struct alert_list *list = rules_list(b.rules, b.now.wall);
    assert_int_equal(list->n, NODES);
    for (size_t i = 0; i < list->n; i++)
        assert_string_equal(labels_get_or_empty(&list->alerts[i]->annotations, "all"), "600");
    alert_list_unref(list);
    teardown(&b);
}

static void a_doubtful_result_is_reported(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{record: 'r:x', expr: 'rate(metric[5m])'}, "
              "{record: 'r:y', expr: metric}]}]");
    run(&b, 6, 3);
    struct rule_report *report = rules_report(b.rules);
    assert_non_null(strstr(report->groups[0].rules[0].note, "metric might not be a counter"));
    assert_string_equal(report->groups[0].rules[0].error, "");
    assert_string_equal(report->groups[0].rules[1].note, "");
    rule_report_unref(report);
    teardown(&b);
}

static void keep_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    str_copy(arg, 300, line);
}

/* Any text may be the name of an alert, and lines of the log are read by programs. */
static void names_with_blanks_are_quoted_in_the_log(void **state)
{
    struct bench b;
    char line[300] = "";
    (void)state;
    setup(&b, "groups: [{name: g, limit: 1, rules: [{alert: Two words, expr: "
              "'metric > 5 or vector(1)'}]}]");
    log_set_sink(keep_line, line);
    run(&b, 6, 1);
    assert_non_null(strstr(line, "rule failed rule=\"Two words\" error="));
    run(&b, 1, 1);
    assert_non_null(strstr(line, "rule works again rule=\"Two words\""));
    log_set_sink(NULL, NULL);
    teardown(&b);
}

/* A rule that moves within its group goes on with its series; a new rule in its place has its own.
 */
static void series_follow_their_rule_over_a_reload(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{record: 'r:x', expr: metric}, "
              "{record: 'r:y', expr: metric}]}]");
    run(&b, 6, 2);
    rules_load(b.rules,
               parse("groups: [{name: g, rules: [{record: 'r:z', expr: metric}, "
                     "{record: 'r:x', expr: 'metric + 1'}]}]"),
               b.now);
    assert_true(ask_at(&b, "r:x", b.now.wall.ms + 1) == 6);
    assert_true(isnan(ask_at(&b, "r:y", b.now.wall.ms + 1))); /* ended by the reload */
    run(&b, 6, 2);
    assert_true(ask(&b, "r:x") == 7);
    assert_true(ask(&b, "r:z") == 6);
    assert_true(ask(&b, "count_over_time(r:x[1m])") == 4);
    teardown(&b);
}

/* Labels that fit into no series are told, and none is left out of an alert: its name least. */
static void too_many_labels_are_an_error(void **state)
{
    static const struct {
        const char *rule;
        int most;
    } rows[] = {{"alert: A, expr: 'metric > 5'", 27}, {"record: r, expr: metric", 30}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int more = 0; more < 2; more++) {
            struct bench b;
            char text[1000] = "";
            size_t n = (size_t)snprintf(text, sizeof(text),
                                        "groups: [{name: g, rules: [{%s, labels: {", rows[i].rule);
            /* beside node, and alertname and region of an alert */
            for (int k = 0; k < rows[i].most + more; k++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "l%d: x,", k);
            snprintf(text + n, sizeof(text) - n, "}}]}]");
            setup(&b, text);
            run(&b, 6, 1);
            assert_string_equal(error_of(&b, 0),
                                !more    ? ""
                                : i == 0 ? "more than 30 labels, with those of the rule"
                                         : "more than 31 labels, with those of the rule");
            assert_true(isnan(ask(&b, i == 0 ? "ALERTS{alertname=\"A\"}" : "r")) == (more == 1));
            teardown(&b);
        }
    }
}

/* The tick in which an alert becomes active may be some milliseconds later than the others. */
static void jitter_costs_no_interval(void **state)
{
    static const struct {
        const char *times, *log;
        int seconds;
    } rows[] = {
        {"for: 10s", "inactive>pending A;pending>firing A;", 12},
        {"keep_firing_for: 10s", "inactive>firing A;firing>resolved A;", 17},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        char text[200];
        snprintf(text, sizeof(text),
                 "groups: [{name: g, interval: 5s, rules: [{alert: A, expr: 'metric > 5', %s}]}]",
                 rows[i].times);
        setup(&b, text);
        run(&b, 1, 61);
        for (int k = 0; k < rows[i].seconds; k++) {
            int late_ms = k == 4 || (i == 1 && k == 9) ? 3 : 0; /* runs are at 4, 9, 14 */
            pass(&b, late_ms);
            run(&b, i == 0 || k < 5 ? 6 : 1, 1);
            pass(&b, -late_ms);
        }
        run(&b, i == 0 ? 6 : 1, 3);
        assert_log(&b, rows[i].log);
        teardown(&b);
    }
}

static void groups_run_in_order_each_at_its_interval(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: a, rules: [{record: 'r:x', expr: 'metric * 2'}]}, "
              "{name: b, interval: 3s, rules: [{record: 'r:y', expr: 'r:x * 2'}]}]");
    run(&b, 1, 1);
    assert_true(ask(&b, "r:y") == 4); /* of the same tick */
    run(&b, 2, 2);
    assert_true(ask(&b, "r:x") == 4);
    assert_true(ask(&b, "r:y") == 4);
    run(&b, 2, 1);
    assert_true(ask(&b, "r:y") == 8);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_offset_moves_evaluation_and_samples),
        cmocka_unit_test(a_limit_ends_all_alerts_of_the_rule),
        cmocka_unit_test(a_limit_counts_what_is_kept),
        cmocka_unit_test(doubles_drop_the_run),
        cmocka_unit_test(labels_of_recorded_series),
        cmocka_unit_test(values_and_annotations_follow_and_labels_stay),
        cmocka_unit_test(templates_can_query_and_know_the_url),
        cmocka_unit_test(queries_of_many_alerts_fit),
        cmocka_unit_test(a_doubtful_result_is_reported),
        cmocka_unit_test(names_with_blanks_are_quoted_in_the_log),
        cmocka_unit_test(series_follow_their_rule_over_a_reload),
        cmocka_unit_test(too_many_labels_are_an_error),
        cmocka_unit_test(jitter_costs_no_interval),
        cmocka_unit_test(groups_run_in_order_each_at_its_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
