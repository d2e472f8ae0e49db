/* test_overrides.c: what rule_overrides makes of rules, and what it refuses with its place. */
#include "pgvigil/rules/overrides.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pgvigil/base/str.h"

/* A rule set of one alert A with the expression (and a B), and the configuration's overrides. */
static struct rule_set *apply(const char *expr, const char *overrides, struct diag *diag)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: %s\n    for: 5m\n"
             "    labels: {severity: warning, zone: z}\n  - {record: A, expr: up}\n"
             "  - {alert: LongerName, expr: up > 1}\n",
             expr);
    struct rule_set *set = rule_set_parse("f.yml", text, strlen(text), diag);
    assert_non_null(set);
    snprintf(text, sizeof(text), "nodes: [{name: a, dsn: host=x}]\nrule_overrides: {%s}\n",
             overrides);
    struct config *config = config_parse("t.yaml", text, strlen(text), diag);
    assert_non_null(config);
    rule_overrides_apply(set, config, diag);
    config_unref(&config);
    return set;
}

static void changes_the_threshold(void **state)
{
    static const struct {
        const char *expr, *threshold, *wanted;
    } cases[] = {
        {"lag_seconds > 60", "30s", "lag_seconds > 30"},
        {"lag_seconds > 1m", "500ms", "lag_seconds > 0.5"},
        {"60 < lag_seconds", "2m", "120 < lag_seconds"},
        {"lag_ms > 60", "2s", "lag_ms > 2000"},
        {"used / max > 0.9 or x", "85%", "used / max > 0.85 or x"},
        {"used / max > 0.9", "120%", "used / max > 1.2"},
        {"100 * used / max > 90", "85%", "100 * used / max > 85"},
        {"cpu_percent > 1", "85%", "cpu_percent > 85"},
        {"free_bytes < 1e6", "10MiB", "free_bytes < 10485760"},
        {"free_bytes < 1e6", "5kB", "free_bytes < 5000"},
        {"n >= -2", "-3.5", "n >= -3.5"},
        {"n >= 2", "\"4\"", "n >= 4"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char overrides[128];
        struct diag diag;
        diag_init(&diag);
        snprintf(overrides, sizeof(overrides), "A: {threshold: %s}", cases[i].threshold);
        struct rule_set *set = apply(cases[i].expr, overrides, &diag);
        if (diag.count > 0)
            fail_msg("%s: %s", cases[i].expr, diag.entries[0].text);
        const struct rule *rule = &set->groups[0].rules[0];
        assert_string_equal(rule->expr_text, cases[i].wanted);
        assert_true(str_starts(rule->overridden, "threshold "));
        assert_non_null(rule->expr);
        rule_set_destroy(&set);
        diag_deinit(&diag);
    }
}

static void changes_the_rest(void **state)
{
    struct diag diag;
    (void)state;
    diag_init(&diag);
    struct rule_set *set = apply(
        "up > 1", "A: {for: 10m, keep_firing_for: 0s, severity: info}, LongerName: {severity: x}",
        &diag);
    assert_int_equal(diag.count, 0);
    const struct rule *rules = set->groups[0].rules;
    assert_int_equal(rules[0].for_ms, 600000);
    assert_int_equal(rules[0].keep_firing_ms, 0);
    assert_int_equal(rules[0].label_count, 2);
    assert_string_equal(rules[0].labels[0].value, "info");
    assert_string_equal(rules[0].overridden,
                        "for 10m (was 5m), keep_firing_for 0s (was 0s), severity info (was "
                        "warning)");
    assert_null(rules[1].overridden); /* a recording rule of the same name is another thing */
    assert_int_equal(rules[2].label_count, 1);
    assert_non_null(rules[2].label_templates[0]);
    assert_string_equal(rules[2].overridden, "severity x (was none)");
    rule_set_destroy(&set);
    diag_deinit(&diag);
}

static void takes_out_what_is_disabled(void **state)
{
    struct diag diag;
    (void)state;
    diag_init(&diag);
    struct rule_set *set = apply("up > 1", "A: {disabled: true, threshold: 5}", &diag);
    assert_int_equal(diag.count, 0);
    assert_int_equal(rule_set_count(set, true), 1);
    assert_int_equal(rule_set_count(set, false), 1);
    assert_string_equal(set->groups[0].rules[1].name, "LongerName");
    rule_set_destroy(&set);
    diag_deinit(&diag);
}

static void counts_for_all_of_a_name(void **state)
{
    static const char text[] = "groups:\n- {name: g, rules: [{alert: A, expr: a > 1}]}\n"
                               "- {name: h, rules: [{alert: A, expr: b > 2}]}\n";
    static const char config_text[] = "nodes: [{name: a, dsn: host=x}]\n"
                                      "rule_overrides: {A: {threshold: 9, disabled: false}}\n";
    struct diag diag;
    (void)state;
    diag_init(&diag);
    struct rule_set *set = rule_set_parse("f.yml", text, strlen(text), &diag);
    struct config *config = config_parse("t.yaml", config_text, strlen(config_text), &diag);
    rule_overrides_apply(set, config, &diag);
    assert_string_equal(set->groups[0].rules[0].expr_text, "a > 9");
    assert_string_equal(set->groups[1].rules[0].expr_text, "b > 9");
    config_unref(&config);
    rule_set_destroy(&set);
    diag_deinit(&diag);
}

static void refuses_with_the_place(void **state)
{
    static const struct {
        const char *expr, *overrides, *finding;
    } cases[] = {
        {"up > 1", "LongrName: {for: 1m}",
         "t.yaml:2:18: 'rule_overrides': no alert is named 'LongrName', did you mean "
         "'LongerName'?\n"},
        {"up > 1", "Zzz: {}", "t.yaml:2:18: 'rule_overrides': no alert is named 'Zzz'\n"},
        {"up == 1", "A: {for: 1m, threshold: 5}",
         "t.yaml:2:42: 'threshold': the expression of 'A' (f.yml:4) has no comparison (> >= < <=) "
         "with a number\n"},
        {"up > 1 and up < 9", "A: {threshold: 5}",
         "t.yaml:2:33: 'threshold': the expression of 'A' (f.yml:4) has 2 comparisons with a "
         "number, so it is not clear which one is meant: disable it and write a rule of your "
         "own\n"},
        {"up > 2 * 3", "A: {threshold: 5}",
         "t.yaml:2:33: 'threshold': the expression of 'A' (f.yml:4) compares with a calculation, "
         "not with a plain number\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct diag diag;
        struct buf text;
        diag_init(&diag);
        buf_init(&text, 4096);
        struct rule_set *set = apply(cases[i].expr, cases[i].overrides, &diag);
        diag_print(&diag, &text);
        assert_string_equal(text.data, cases[i].finding);
        rule_set_destroy(&set);
        buf_deinit(&text);
        diag_deinit(&diag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_the_threshold),      cmocka_unit_test(changes_the_rest),
        cmocka_unit_test(takes_out_what_is_disabled), cmocka_unit_test(counts_for_all_of_a_name),
        cmocka_unit_test(refuses_with_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
