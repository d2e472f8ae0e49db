/* Unit tests of rules: strict reading, semantics and the printed form, over files in a folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/rule_test.h"

static const char rules_text[] = "groups:\n"
                                 "- name: second\n"
                                 "  rules:\n"
                                 "  - alert: Sum\n"
                                 "    expr: sum_of > 3\n"
                                 "- name: first\n"
                                 "  interval: 3m\n"
                                 "  rules:\n"
                                 "  - alert: High\n"
                                 "    expr: m > 2\n"
                                 "    for: 2m\n"
                                 "    labels: {severity: page}\n"
                                 "    annotations: {summary: 'is {{ $value }}'}\n"
                                 "  - record: sum_of\n"
                                 "    expr: sum(m)\n";

static char folder[] = "/tmp/pgvigil_rule_test_XXXXXX";
static char path[128];

static void write_file(const char *name, const char *text)
{
    char full[128];
    snprintf(full, sizeof(full), "%s/%s", folder, name);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_folder(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/test.yml", folder);
    write_file("rules.yml", rules_text);
    return 0;
}

static int remove_folder(void **state)
{
    char full[128];
    (void)state;
    snprintf(full, sizeof(full), "%s/rules.yml", folder);
    unlink(full);
    unlink(path);
    return rmdir(folder);
}

/* ---- running ---- */

struct told {
    char text[16384];
    const char *only; /* name of the group to be run */
};

static void failed(const char *text, void *arg)
{
    struct told *told = arg;
    size_t n = strlen(told->text);
    snprintf(told->text + n, sizeof(told->text) - n, "%s\n", text);
}

static void no_match(const char *pattern, void *arg)
{
    failed(pattern, arg);
}

static bool wanted(const char *name, void *arg)
{
    const struct told *told = arg;
    return told->only == NULL || str_eq(name, told->only);
}

/* The tests, under a header that names the rules; what failed is in told. */
static struct rule_test_result run_with(const char *header, const char *tests, struct told *told)
{
    struct diag diag;
    char *text = mem_printf("%stests:\n%s", header, tests);
    diag_init(&diag);
    struct rule_test *test = rule_test_parse(path, text, strlen(text), &diag);
    if (test == NULL)
        fail_msg("%d:%d: %s", diag.entries[0].line, diag.entries[0].col, diag.entries[0].text);
    struct rule_test_result result = rule_test_run(
        test, &(struct rule_test_opts){
                  .wanted = wanted, .failed = failed, .no_match = no_match, .arg = told});
    rule_test_destroy(&test);
    diag_deinit(&diag);
    mem_free(text);
    return result;
}

static struct rule_test_result run(const char *tests, struct told *told)
{
    return run_with("rule_files: [rules.yml]\ngroup_eval_order: [first, second]\n", tests, told);
}

#define SERIES                                       \
    "- interval: 1m\n"                               \
    "  input_series:\n"                              \
    "  - {series: 'm{a=\"1\"}', values: '0+1x10'}\n" \
    "  - {series: 'm{a=\"2\"}', values: '3x10'}\n"

static void expect_ok(const char *tests, size_t checks)
{
    struct told told = {.only = NULL};
    struct rule_test_result result = run(tests, &told);
    if (result.failures > 0)
        fail_msg("%s", told.text);
    assert_int_equal(result.checks, checks);
}

static void expect_text(const char *tests, const char *text)
{
    struct told told = {.only = NULL};
    assert_true(run(tests, &told).failures > 0);
    assert_string_equal(told.text, text);
}

static void test_alerts(void **state)
{
    (void)state;
    expect_ok(SERIES
              "  alert_rule_test:\n"
              "  - {eval_time: 1m59s, alertname: High}\n"
              "  - eval_time: 2m\n"
              "    alertname: High\n"
              "    exp_alerts: [{exp_labels: {a: '2', severity: page}, exp_annotations: {summary: "
              "is 3}}]\n"
              "  - eval_time: 5m59s\n" /* the last step counts */
              "    alertname: High\n"
              "    exp_alerts:\n"
              "    - {exp_labels: {severity: page, a: '1'}, exp_annotations: {summary: is 5}}\n"
              "    - {exp_labels: {severity: page, a: '2'}, exp_annotations: {summary: is 3}}\n"
              "  - {eval_time: 0s, alertname: Sum}\n"
              "  - {eval_time: 1m, alertname: Sum, exp_alerts: [{}]}\n"
              "  - {eval_time: 1m, alertname: Nobody}\n",
              6);
}

/* Groups run in the order that is told, each of them at every step. */
static void test_order_of_groups(void **state)
{
    struct told told = {.only = NULL};
    (void)state;
    struct rule_test_result result =
        run_with("rule_files: ['*les.yml']\ngroup_eval_order: [second, first]\n",
                 SERIES "  alert_rule_test:\n"
                        "  - {eval_time: 1m, alertname: Sum}\n"
                        "  - {eval_time: 2m, alertname: Sum, exp_alerts: [{}]}\n",
                 &told);
    assert_string_equal(told.text, "");
    assert_int_equal(result.checks, 2);
}

static void test_expressions(void **state)
{
    (void)state;
    expect_ok(
        SERIES
        "  promql_expr_test:\n"
        "  - expr: m\n"
        "    eval_time: 4m\n"
        "    exp_samples: [{labels: 'm{a=\"2\"}', value: 3}, {labels: 'm{a=\"1\"}', value: 4}]\n"
        "  - {expr: sum(m), eval_time: 4m, exp_samples: [{labels: '{}', value: 7}]}\n"
        "  - {expr: 1+1, eval_time: 0s, exp_samples: [{value: 2}]}\n"
        "  - {expr: m > 9, eval_time: 4m}\n"
        "  - {expr: 'sum(count_over_time(m{a=\"2\"}[2m:]))', eval_time: 4m, exp_samples: [{value: "
        "2}]}\n"
        "  - {expr: 1/0, eval_time: 4m, exp_samples: [{value: .inf}]}\n"
        "  - {expr: '16', eval_time: 4m, exp_samples: [{value: 0x10}]}\n"
        "  - {expr: '8', eval_time: 4m, exp_samples: [{value: 010}]}\n"
        "  - {expr: '1000', eval_time: 4m, exp_samples: [{value: 1_000}]}\n"
        "  - {expr: 'ALERTS{alertstate=\"firing\", alertname=\"High\"}', eval_time: 2m,\n"
        "     exp_samples: [{labels: "
        "'ALERTS{a=\"2\",alertname=\"High\",alertstate=\"firing\",severity=\"page\"}', value: "
        "1}]}\n"
        "  - {expr: 'count(pgvigil_alert_firing)', eval_time: 3m}\n",
        11);
}

/* The step between samples, and the one at which subqueries and rules are evaluated. */
static void test_intervals(void **state)
{
    struct told told = {.only = NULL};
    (void)state;
    run_with("evaluation_interval: 30s\n",
             "- input_series: [{series: m, values: '0+1x10'}]\n"
             "  promql_expr_test:\n"
             "  - {expr: m, eval_time: 4m15s, exp_samples: [{labels: m, value: 8}]}\n"
             "  - {expr: 'count_over_time(m[2m:])', eval_time: 4m15s, exp_samples: [{value: 4}]}\n"
             "- interval: 1m\n"
             "  input_series: [{series: m, values: '0+1x10'}]\n"
             "  promql_expr_test:\n"
             "  - {expr: m, eval_time: 4m15s, exp_samples: [{labels: m, value: 4}]}\n",
             &told);
    assert_string_equal(told.text, "");
}

/* Samples behind the last step are not there yet. */
static void test_samples_behind_the_last_step(void **state)
{
    (void)state;
    expect_ok("- interval: 10s\n"
              "  input_series: [{series: m, values: '0+1x100'}]\n"
              "  promql_expr_test:\n"
              "  - {expr: m, eval_time: 1m50s, exp_samples: [{labels: m, value: 6}]}\n"
              "- interval: 10s\n"
              "  input_series: [{series: m, values: '0+1x100'}]\n"
              "  promql_expr_test:\n"
              "  - {expr: m, eval_time: 1m50s, exp_samples: [{labels: m, value: 11}]}\n"
              "  - {expr: m, eval_time: 2m, exp_samples: [{labels: m, value: 12}]}\n",
              3);
}

static void test_start_timestamp(void **state)
{
    (void)state;
    expect_ok("- interval: 1m\n"
              "  start_timestamp: 2026-01-02T03:00:00Z\n"
              "  input_series: [{series: m, values: '0+1x10'}]\n"
              "  promql_expr_test:\n"
              "  - {expr: hour(), eval_time: 1m, exp_samples: [{value: 3}]}\n"
              "  - {expr: m, eval_time: 2m, exp_samples: [{labels: m, value: 2}]}\n"
              "- interval: 1m\n"
              "  start_timestamp: 1000.5\n"
              "  input_series: [{series: m, values: '0+1x10'}]\n"
              "  promql_expr_test: [{expr: timestamp(m), eval_time: 1m, exp_samples: [{value: "
              "1060.5}]}]\n",
              3);
}

static void test_floats_are_exact(void **state)
{
    static const char tests[] =
        "- promql_expr_test: [{expr: 0.1 + 0.2, eval_time: 1m, exp_samples: [{value: 0.3}]}]\n";
    struct told told = {.only = NULL};
    (void)state;
    expect_text(tests, "    expr: \"0.1 + 0.2\", time: 1m,\n"
                       "        exp: {} 3E-01\n"
                       "        got: {} 3.0000000000000004E-01\n");
    run_with("fuzzy_compare: true\n", tests, &told);
    assert_string_equal(told.text, "");
    expect_text("- promql_expr_test: [{expr: NaN, eval_time: 1m, exp_samples: [{value: .nan}]}]\n",
                "    expr: \"NaN\", time: 1m,\n        exp: {} NaN\n        got: {} NaN\n");
    run_with(
        "fuzzy_compare: true\n",
        "- promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.29999999999999993}]}]\n",
        &told);
    assert_string_not_equal(told.text, "");
}

static void test_printed_alerts(void **state)
{
    (void)state;
    expect_text(
        "- name: mine\n"
        "  interval: 1m\n"
        "  input_series: [{series: 'm{b=\"q\\\"\\u00e9\\n\"}', values: '3x9'}]\n"
        "  alert_rule_test:\n"
        "  - {eval_time: 1h30m, alertname: High, exp_alerts: [{exp_labels: {z: ''}}, {}]}\n"
        "  - {eval_time: 3m, alertname: High}\n",
        "    name: mine,\n"
        "    alertname: High, time: 3m, \n"
        "        exp:[], \n"
        "        got:[\n"
        "            0:\n"
        "              Labels:{alertname=\"High\", b=\"q\\\"\xc3\xa9\\n\", severity=\"page\"}\n"
        "              Annotations:{summary=\"is 3\"}\n"
        "            ]\n"
        "    name: mine,\n"
        "    alertname: High, time: 1h30m, \n"
        "        exp:[\n"
        "            0:\n"
        "              Labels:{alertname=\"High\"}\n"
        "              Annotations:{},\n"
        "            1:\n"
        "              Labels:{alertname=\"High\", z=\"\"}\n"
        "              Annotations:{}\n"
        "            ], \n"
        "        got:[]\n");
}

static void test_errors_of_checks(void **state)
{
    (void)state;
    expect_text("- promql_expr_test:\n"
                "  - {expr: '\"x\"', eval_time: 1m}\n"
                "  - {expr: 'm[5m]', eval_time: 1m}\n"
                "  - {expr: 1 +, eval_time: 1m}\n"
                "  - {expr: '1', eval_time: 1m, exp_samples: [{labels: '{', value: 1}]}\n",
                "    expr: \"\\\"x\\\"\", time: 1m, err: rule result is not a vector or scalar\n"
                "    expr: \"m[5m]\", time: 1m, err: rule result is not a vector or scalar\n"
                "    expr: \"1 +\", time: 1m, err: 1:4: parse error: unexpected end of input\n"
                "    expr: \"1\", time: 1m, err: labels: no series: {\n");
}

static void test_errors_of_groups(void **state)
{
    struct told told = {.only = NULL};
    (void)state;
    run_with("",
             "- input_series: [{series: m, values: '1 {{count:1}}'}]\n"
             "- input_series: [{series: m, values: '1 x'}]\n"
             "- promql_expr_test: [{expr: '1', eval_time: 20y}]\n",
             &told);
    assert_non_null(strstr(told.text, "test.yml:2:18: native histograms are not supported\n"));
    assert_non_null(strstr(told.text, "test.yml:3:18: no value of a series at: x\n"));
    assert_non_null(strstr(told.text, "more than 5000000 steps up to the largest eval_time\n"));
}

/* An error of a rule ends its group; the others run. */
static void test_errors_of_rules(void **state)
{
    struct told told = {.only = NULL};
    (void)state;
    write_file("rules.yml", "groups: [{name: g, rules: [{record: r, expr: m + on () m}]}]\n");
    struct rule_test_result result =
        run_with("rule_files: [rules.yml]\n",
                 "- interval: 1m\n"
                 "  input_series:\n"
                 "  - {series: 'm{a=\"1\"}', values: '_x90 1'}\n"
                 "  - {series: 'm{a=\"2\"}', values: '_x90 1'}\n"
                 "  promql_expr_test: [{expr: '1', eval_time: 2h}]\n"
                 "- promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]\n",
                 &told);
    write_file("rules.yml", rules_text);
    assert_int_equal(result.failures, 1);
    assert_int_equal(result.checks, 1);
    assert_true(str_starts(told.text, "    rule: r, time: 1h30m0s, err: found duplicate series"));
}

static void test_rule_files(void **state)
{
    struct told told = {.only = NULL};
    (void)state;
    run_with("rule_files: [nosuch.yml, 'no*.yml', rules.yml]\n",
             "- promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]\n", &told);
    assert_string_equal(told.text, "nosuch.yml\nno*.yml\n");
    write_file("rules.yml", "groups: [{nam: g}]\n");
    told.text[0] = '\0';
    struct rule_test_result result = run_with("rule_files: [rules.yml]\n", "- {}\n- {}\n", &told);
    write_file("rules.yml", rules_text);
    assert_non_null(strstr(told.text, "rules.yml:1:11: "));
    assert_int_equal(result.failures, 1); /* once, not for each group */
}

static void test_only_some_groups(void **state)
{
    struct told told = {.only = "b"};
    (void)state;
    struct rule_test_result result =
        run("- {name: a, promql_expr_test: [{expr: '1'}]}\n"
            "- {name: b, promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]}\n",
            &told);
    assert_int_equal(result.checks, 1);
    assert_int_equal(result.failures, 0);
}

static void test_templates_see_external_labels(void **state)
{
    struct told told = {.only = NULL};
    (void)state;
    write_file("rules.yml", "groups: [{name: g, rules: [{alert: A, expr: '1', annotations: {"
                            "s: '{{ $externalLabels.region }} {{ .ExternalURL }}'}}]}]\n");
    run_with("rule_files: [rules.yml]\n",
             "- external_labels: {region: eu}\n"
             "  external_url: http://here\n"
             "  alert_rule_test: [{alertname: A, exp_alerts: [{exp_annotations: {s: eu "
             "http://here}}]}]\n",
             &told);
    write_file("rules.yml", rules_text);
    assert_string_equal(told.text, "");
}

/* ---- reading ---- */

static void test_findings(void **state)
{
    static const struct {
        const char *text, *finding;
    } cases[] = {
        {"foo: 1\n", "1:1: unknown key 'foo'"},
        {"rule_file: []\n", "1:1: unknown key 'rule_file', did you mean 'rule_files'?"},
        {"evaluation_interval: x\n", "1:22: not a valid duration string: \"x\""},
        {"evaluation_interval: -1m\n", "1:22: not a valid duration string: \"-1m\""},
        {"group_eval_order: [a, b, a]\n", "1:26: group name repeated in evaluation order: a"},
        {"fuzzy_compare: maybe\n", "1:16: 'fuzzy_compare' must be true or false"},
        {"rule_files: rules.yml\n", "1:13: 'rule_files' must be a list"},
        {"tests: {}\n", "1:8: 'tests' must be a list"},
        {"tests: [a]\n", "1:9: a test must be a mapping"},
        {"tests: [{bar: 1}]\n", "1:10: unknown key 'bar'"},
        {"tests: [{start_timestamp: noon}]\n",
         "1:27: 'start_timestamp' is neither RFC 3339 nor Unix seconds: \"noon\""},
        {"tests: [{input_series: [{serie: m}]}]\n",
         "1:26: unknown key 'serie', did you mean 'series'?"},
        {"tests: [{alert_rule_test: [{eval_time: 4m}]}]\n",
         "1:28: an item under alert_rule_test misses required attribute alertname at eval_time 4m"},
        {"tests: [{alert_rule_test: [{alertname: A, exp_alerts: [{labels: {}}]}]}]\n",
         "1:57: unknown key 'labels'"},
        {"tests: [{promql_expr_test: [{exp_samples: [{value: '6'}]}]}]\n",
         "1:52: 'value' is not a number"},
        {"tests: [{promql_expr_test: [{exp_samples: [{value: NaN}]}]}]\n",
         "1:52: 'value' is not a number"},
        {"tests: [{promql_expr_test: [{exp_samples: [{value: 1x}]}]}]\n",
         "1:52: 'value' is not a number"},
        {"- a\n", "1:1: a file of tests must be a mapping"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct diag diag;
        char got[600] = "";
        diag_init(&diag);
        struct rule_test *test =
            rule_test_parse("t.yml", cases[i].text, strlen(cases[i].text), &diag);
        if (diag.count > 0)
            snprintf(got, sizeof(got), "%d:%d: %s", diag.entries[0].line, diag.entries[0].col,
                     diag.entries[0].text);
        assert_null(test);
        assert_string_equal(got, cases[i].finding);
        diag_deinit(&diag);
    }
}

static void test_empty_file(void **state)
{
    struct diag diag;
    (void)state;
    diag_init(&diag);
    struct rule_test *test = rule_test_parse("t.yml", "\n", 1, &diag);
    assert_non_null(test);
    assert_int_equal(rule_test_run(test, &(struct rule_test_opts){.failed = failed}).failures, 0);
    rule_test_destroy(&test);
    diag_deinit(&diag);
}

/* Thirty days of minutes: every step is there, and memory stays small. */
static void test_thirty_days(void **state)
{
    struct rusage before, after;
    (void)state;
    getrusage(RUSAGE_SELF, &before);
    expect_ok("- interval: 1m\n"
              "  input_series: [{series: m, values: '0+1x43200'}]\n"
              "  promql_expr_test:\n"
              "  - {expr: 'count_over_time(sum_of[30d])', eval_time: 30d, exp_samples: [{value: "
              "43200}]}\n",
              1);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 100 * 1024); /* kB; ASan's own included */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_order_of_groups),
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_samples_behind_the_last_step),
        cmocka_unit_test(test_start_timestamp),
        cmocka_unit_test(test_floats_are_exact),
        cmocka_unit_test(test_printed_alerts),
        cmocka_unit_test(test_errors_of_checks),
        cmocka_unit_test(test_errors_of_groups),
        cmocka_unit_test(test_errors_of_rules),
        cmocka_unit_test(test_rule_files),
        cmocka_unit_test(test_only_some_groups),
        cmocka_unit_test(test_templates_see_external_labels),
        cmocka_unit_test(test_findings),
        cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_thirty_days),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
