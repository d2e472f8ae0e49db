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
#define RULE  GROUP "  - "

static const struct {
    const char *text;
    const char *finding;
} bad[] = {
    {"groups: 3\n", "f.yml:1:9: 'groups' must be a list, not a text"},
    {"groups: {}\n", "f.yml:1:9: 'groups' must be a list, not a mapping"},
    {"- a\n", "f.yml:1:1: a rule file must be a mapping, not a list"},
    {"group: []\n", "f.yml:1:1: unknown key 'group', did you mean 'groups'?"},
    {"groups: []\n---\ngroups: []\n", "f.yml:2:1: only one document may be in a file"},
    {"groups: []\ngroups: []\n", "f.yml:2:1: duplicate key \"groups\", first on line 1"},
    {"groups: [x]\n", "f.yml:1:10: a group must be a mapping, not a text"},
    {"groups:\n- rules: []\n", "f.yml:2:3: Groupname must not be empty"},
    {"groups:\n- name: \"\"\n", "f.yml:2:3: Groupname must not be empty"},
    {"groups:\n- name: ~\n", "f.yml:2:3: Groupname must not be empty"},
    {"groups:\n- name: [a]\n", "f.yml:2:9: 'name' must be a text, not a list"},
    {"groups:\n- name: a\n- name: a\n", "f.yml:3:3: groupname: \"a\" is repeated in the same file"},
    {"groups:\n- {name: a, interval: 5}\n",
     "f.yml:2:23: 'interval': not a valid duration string: \"5\""},
    {"groups:\n- {name: a, query_offset: 1.5h}\n",
     "'query_offset': not a valid duration string: \"1.5h\""},
    {"groups:\n- {name: a, limit: many}\n", "f.yml:2:20: 'limit' is not a count: 'many'"},
    {"groups:\n- {name: a, limit: \"5\"}\n", "'limit' is not a count: '5'"},
    {"groups:\n- {name: a, limit: 99999999999999999999}\n", "'limit' is not a count"},
    {"groups:\n- {name: a, labels: {a-b: c}}\n",
     "f.yml:2:22: group \"a\": invalid label name: a-b"},
    {"groups:\n- {name: a, rules: {}}\n", "'rules' must be a list, not a mapping"},
    {"groups:\n- {name: a, rules: [x]}\n", "a rule must be a mapping, not a text"},
    {RULE "{alert: A, record: b, expr: up}\n",
     "f.yml:4:24: group \"g\", rule 1, \"A\": only one of 'record' and 'alert' must be set"},
    {RULE "{expr: up}\n",
     "f.yml:4:5: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set"},
    {RULE "{alert: \"\", expr: up}\n", "one of 'record' or 'alert' must be set"},
    {RULE "{alert: A}\n",
     "f.yml:4:5: group \"g\", rule 1, \"A\": field 'expr' must be set in rule"},
    {RULE "{alert: A, expr: \"\"}\n",
     "f.yml:4:22: group \"g\", rule 1, \"A\": field 'expr' must be set in rule"},
    {RULE "{alert: A, expr: \"up +\"}\n", "f.yml:4:22: group \"g\", rule 1, \"A\": could not parse "
                                          "expression: 1:5: parse error: unexpected end of input"},
    {RULE "{record: 'a b', expr: up}\n",
     "f.yml:4:14: group \"g\", rule 1, \"a b\": invalid recording rule name: a b"},
    {RULE "{record: 1a, expr: up}\n", "invalid recording rule name: 1a"},
    {RULE "{record: 'a{b=\"c\"}', expr: up}\n",
     "group \"g\", rule 1, \"a{b=\\\"c\\\"}\": invalid recording rule name: a{b=\"c\"}"},
    {RULE "{record: a, expr: up, for: 1m}\n",
     "f.yml:4:32: group \"g\", rule 1, \"a\": invalid field 'for' in recording rule"},
    {RULE "{record: a, expr: up, keep_firing_for: 1m}\n",
     "invalid field 'keep_firing_for' in recording rule"},
    {RULE "{record: a, expr: up, annotations: {a: b}}\n",
     "invalid field 'annotations' in recording rule"},
    {RULE "{alert: A, expr: up, fore: 1m}\n",
     "f.yml:4:26: unknown key 'fore', did you mean 'for'?"},
    {RULE "{alert: A, expr: up, for: 5}\n", "'for': not a valid duration string: \"5\""},
    {RULE "{alert: A, expr: up, for: 1.5h}\n", "'for': not a valid duration string: \"1.5h\""},
    {RULE "{alert: A, expr: up, for: -5m}\n", "'for': not a valid duration string: \"-5m\""},
    {RULE "{alert: A, expr: up, for: 30m1h}\n", "'for': not a valid duration string: \"30m1h\""},
    {RULE "{alert: A, expr: up, for: 5 m}\n", "'for': not a valid duration string: \"5 m\""},
    {RULE "{alert: A, expr: up, for: \"\"}\n", "'for': empty duration string"},
    {RULE "{alert: A, expr: up, for: 300y}\n", "'for': duration out of range"},
    {RULE "{alert: A, expr: up, for: [5m]}\n", "'for' must be a text, not a list"},
    {RULE "{alert: A, expr: up, labels: {'1x': y}}\n",
     "group \"g\", rule 1, \"A\": invalid label name: 1x"},
    {RULE "{alert: A, expr: up, labels: {__name__: y}}\n", "invalid label name: __name__"},
    {RULE "{alert: A, expr: up, labels: [a]}\n", "'labels' must be a mapping, not a list"},
    {RULE "{alert: A, expr: up, labels: {a: [b]}}\n", "'a' must be a text, not a list"},
    {RULE "{alert: A, expr: up, labels: {a: b, a: c}}\n", "duplicate key \"a\""},
    {RULE "{alert: A, expr: up, annotations: {a-b: y}}\n", "invalid annotation name: a-b"},
    {RULE "{alert: A, expr: up, annotations: {s: '{{ $x }}'}}\n",
     "f.yml:4:43: group \"g\", rule 1, \"A\": annotation \"s\": "},
    {RULE "{alert: A, expr: up, labels: {s: '{{ end }}'}}\n",
     "group \"g\", rule 1, \"A\": label \"s\": "},
    {"groups:\n- name: g\n  labels: {s: \"{{ $x }}\"}\n  rules: [{alert: A, expr: up}]\n",
     "f.yml:4:11: group \"g\", rule 1, \"A\": label \"s\": "},
    {RULE "{<<: x, alert: A, expr: up}\n", "map merge requires map"},
    {RULE "{alert: A, expr: *x}\n", "unknown anchor 'x' referenced"},
    {RULE "{<<: {foo: 1}, alert: A, expr: up}\n", "f.yml:4:11: unknown key 'foo'"},
};

static const char *const fine[] = {
    "",
    "# x\n",
    "---\n",
    "groups:\n",
    "groups: []\n",
    "groups:\n- \n",
    "groups:\n- name: 5\n",
    "groups:\n- name: true\n  rules:\n  -\n",
    "groups:\n- {name: g, interval: , limit: , query_offset: , labels: , rules: }\n",
    "groups:\n- {name: g, interval: 1h30m, limit: 5.5, query_offset: 0}\n",
    RULE "{alert: 5, expr: 1}\n",
    RULE "{alert: \"My alert!\", expr: true}\n",
    RULE "{alert: \"\", record: a, expr: up}\n",
    RULE "{record: \":a\", expr: up, for: 0s, annotations: {}}\n",
    RULE "{record: a, expr: '\"x\"'}\n",
    RULE "{record: a, expr: 'up[5m]'}\n",
    RULE "{alert: A, expr: up, for: , labels: {a: 1, b: true, c: 1.50, d: , ~: x, true: y}}\n",
    RULE
    "{alert: A, expr: up, for: 0, labels: {__x: y, alertname: z}, annotations: {__name__: x}}\n",
    RULE "{record: A, expr: up, labels: {a: \"{{ $x }}\"}}\n",
    RULE "{alert: A, expr: &e up == 0, labels: &l {s: p}}\n  - {alert: B, expr: *e, labels: {<<: "
         "*l, t: q}}\n",
    RULE "&r {alert: A, expr: up}\n  - {<<: *r, alert: B}\n",
    RULE "{alert: !!str 5, expr: up}\n",
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

static void takes_what_prometheus_takes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        struct diag diag;
        diag_init(&diag);
        struct rule_set *set = rule_set_parse("f.yml", fine[i], strlen(fine[i]), &diag);
        if (set == NULL)
            fail_msg("case %zu: %s", i, diag.entries[0].text);
        rule_set_destroy(&set);
        diag_deinit(&diag);
    }
}

static void reads_values_as_go_does(void **state)
{
    static const struct {
        const char *limit;
        int value;
    } limits[] = {{"5", 5},
                  {"5.9", 5},
                  {"-5", 0},
                  {"1_000", 1000},
                  {"0x10", 16},
                  {"010", 8},
                  {"1e3", 1000},
                  {"0b11", 3},
                  {"0o17", 15},
                  {"~", 0},
                  {"99999999999", INT32_MAX}};
    char text[128];
    struct diag diag;
    (void)state;
    diag_init(&diag);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        snprintf(text, sizeof(text), "groups: [{name: g, limit: %s}]\n", limits[i].limit);
        struct rule_set *set = rule_set_parse("f.yml", text, strlen(text), &diag);
        assert_non_null(set);
        assert_int_equal(set->groups[0].limit, limits[i].value);
        rule_set_destroy(&set);
    }
    const char *merged = RULE "{alert: A, expr: up, for: 1h30m, labels: &l {a: x, b: , c: 1.50}}\n"
                              "  -\n  - {alert: B, expr: up, labels: {<<: *l, a: y}}\n";
    struct rule_set *set = rule_set_parse("f.yml", merged, strlen(merged), &diag);
    assert_non_null(set);
    assert_int_equal(set->groups[0].count, 2);
    const struct rule *rules = set->groups[0].rules;
    assert_int_equal(rules[0].for_ms, 5400000);
    assert_string_equal(rules[0].labels[1].value, "");
    assert_string_equal(rules[0].labels[2].value, "1.50");
    assert_int_equal(rules[1].label_count, 3);
    assert_string_equal(rules[1].labels[0].value, "y");
    assert_int_equal(rules[1].line, 6);
    assert_int_equal(rules[1].col, 5);
    rule_set_destroy(&set);
    diag_deinit(&diag);
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
        cmocka_unit_test(takes_what_prometheus_takes),
        cmocka_unit_test(reads_values_as_go_does),
        cmocka_unit_test(tells_all_findings_at_once),
        cmocka_unit_test(a_named_file_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
