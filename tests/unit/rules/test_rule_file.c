/* Rule files: what is accepted, and every finding with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/base/str.h"
#include "pgvigil/rules/rule_file.h"

static const char good[] = "groups:\n"
                           "  - name: a\n"
                           "    interval: 5s\n"
                           "    labels: {team: db, severity: info}\n"
                           "    rules:\n"
                           "      - record: job:up:sum\n"
                           "        expr: sum(up)\n"
                           "      - alert: Down\n"
                           "        expr: up == 0\n"
                           "        for: 1m\n"
                           "        keep_firing_for: 2m\n"
                           "        labels: {severity: critical}\n"
                           "        annotations: {summary: '{{ $labels.node }}'}\n"
                           "  - name: empty\n";

static void reads_a_good_file(void **state)
{
    (void)state;
    struct diag diag;
    diag_init(&diag);
    struct rule_set *set = rule_set_parse("f.yml", good, strlen(good), &diag);
    assert_non_null(set);
    assert_int_equal(diag.count, 0);
    assert_int_equal(set->count, 2);
    assert_int_equal(rule_set_count(set, true), 1);
    assert_int_equal(rule_set_count(set, false), 1);
    const struct rule_group *g = &set->groups[0];
    assert_int_equal(g->interval_ms, 5000);
    const struct rule *down = &g->rules[1];
    assert_int_equal(down->for_ms, 60000);
    assert_int_equal(down->keep_firing_ms, 120000);
    assert_int_equal(down->label_count, 2);
    assert_string_equal(down->labels[0].name, "severity");
    assert_string_equal(down->labels[0].value, "critical");
    assert_string_equal(down->labels[1].value, "db");
    assert_int_equal(g->rules[0].label_count, 2);
    rule_set_destroy(&set);
    diag_deinit(&diag);
}

#define GROUP "groups:\n- name: g\n  rules:\n"

static const struct {
    const char *text;
    const char *finding;
} bad[] = {
    {"groups: 3\n", "f.yml:1:9: 'groups' must be a list"},
    {"group: []\n", "f.yml:1:1: unknown key 'group', did you mean 'groups'?"},
    {"groups:\n- rules: []\n", "f.yml:2:3: a group needs a 'name'"},
    {"groups:\n- name: a\n- name: a\n", "f.yml:3:3: group 'a' stands twice in this file"},
    {"groups:\n- {name: a, interval: 5}\n", "'interval' is not a duration like 5m: '5'"},
    {"groups:\n- {name: a, limit: many}\n", "'limit' is not a count: 'many'"},
    {GROUP "  - {alert: A, record: b, expr: up}\n", "a rule needs either 'record' or 'alert'"},
    {GROUP "  - {expr: up}\n", "a rule needs either 'record' or 'alert'"},
    {GROUP "  - {alert: A}\n", "f.yml:4:5: a rule needs 'expr'"},
    {GROUP "  - {alert: A, expr: 'up =='}\n", "'A': could not parse expression: "},
    {GROUP "  - {record: 'a b', expr: up}\n", "'a b' is not a valid metric name"},
    {GROUP "  - {record: a, expr: up, for: 1m}\n", "'for' is for alerts only"},
    {GROUP "  - {alert: A, expr: up, fore: 1m}\n", "unknown key 'fore', did you mean 'for'?"},
    {GROUP "  - {alert: A, expr: up, labels: {'1x': y}}\n", "'1x' is not a valid label name"},
    {GROUP "  - {alert: A, expr: up, labels: {__name__: y}}\n", "is not a valid label name"},
    {GROUP "  - {alert: A, expr: up, annotations: {s: '{{ $x }}'}}\n",
     "template of 's': undefined variable '$x'"},
    {GROUP "  - {alert: A, expr: 'up[5m]'}\n", "must give a vector or scalar, not a "},
};

static void tells_each_finding_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct diag diag;
        struct buf text;
        diag_init(&diag);
        buf_init(&text, 65536);
        struct rule_set *set = rule_set_parse("f.yml", bad[i].text, strlen(bad[i].text), &diag);
        diag_print(&diag, &text);
        if (set != NULL || strstr(text.data, bad[i].finding) == NULL)
            fail_msg("case %zu: wanted '%s', got '%s'", i, bad[i].finding, text.data);
        buf_deinit(&text);
        diag_deinit(&diag);
    }
}

static void tells_all_findings_at_once(void **state)
{
    (void)state;
    const char *text =
        GROUP "  - {alert: A, expr: up, fore: 1m, labels: {'1': a}}\n  - {expr: 1}\n";
    struct diag diag;
    diag_init(&diag);
    assert_null(rule_set_parse("f.yml", text, strlen(text), &diag));
    assert_int_equal(diag.count, 3);
    diag_deinit(&diag);
}

static void a_named_file_must_be_there(void **state)
{
    (void)state;
    const char *const globs[] = {"/nonexistent/x*.yml", "/nonexistent/rules.yml"};
    struct diag diag;
    diag_init(&diag);
    assert_null(rule_set_load(globs, 2, &diag));
    assert_int_equal(diag.count, 1);
    diag_deinit(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_good_file),
        cmocka_unit_test(tells_each_finding_with_its_place),
        cmocka_unit_test(tells_all_findings_at_once),
        cmocka_unit_test(a_named_file_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
