/* One line per function and its edges; samples each minute unless a table says otherwise. */
#include "promql_check.h"

#include "../../../agent/promql/promql_private.h"

/* ---- over the points of a window ---- */

static const char range_load[] = "c 0+10x10\n"              /* 0 at 0 .. 100 at 600 */
                                 "reset 10 20 5 15 25 35\n" /* at 120 it started again */
                                 "g 4 2 8 8 NaN NaN 1\n"
                                 "line 0+3x10\n"
                                 "flat 7x10\n"
                                 "infs Inf Inf\n"
                                 "one 5\n";

static const struct check_case range_cases[] = {
    /* Five points at 30 s from both edges: extended to them. */
    {"rate(c[5m])", 330, "{} 0.16666666666666666\n"},
    {"increase(c[5m])", 330, "{} 50\n"},
    {"rate(c[5m])", 300, "{} 0.16666666666666666\n"},
    {"increase(c[1m])", 300, ""}, /* the left edge is open: one point */
    {"delta(c[5m])", 330, "{} 50\n"},
    /* A counter was never below zero: not extended behind 0 s. */
    {"increase(c[10m])", 300, "{} 50\n"},
    {"increase(reset[10m])", 310, "{} 51\n"},
    {"delta(reset[10m])", 310, "{} 28.333333333333332\n"},
    {"irate(c[5m])", 330, "{} 0.16666666666666666\n"},
    {"irate(reset[3m])", 120, "{} 0.08333333333333333\n"},
    {"idelta(reset[3m])", 120, "{} -15\n"},
    {"rate(one[5m])", 0, ""},
    {"irate(one[5m])", 0, ""},
    {"resets(reset[10m])", 300, "{} 1\n"},
    {"changes(g[10m])", 360, "{} 4\n"}, /* NaN to NaN is none */
    {"min_over_time(g[10m])", 360, "{} 1\n"},
    {"max_over_time(g[10m])", 360, "{} 8\n"},
    {"avg_over_time(g[4m])", 180, "{} 5.5\n"},
    {"sum_over_time(g[4m])", 180, "{} 22\n"},
    {"count_over_time(g[10m])", 360, "{} 7\n"},
    {"first_over_time(g[10m])", 360, "g 4\n"},
    {"last_over_time(g[10m])", 360, "g 1\n"},
    {"present_over_time(g[10m])", 360, "{} 1\n"},
    {"round(stdvar_over_time(g[4m]), 0.01)", 180, "{} 6.75\n"},
    {"stddev_over_time(flat[4m])", 180, "{} 0\n"},
    {"quantile_over_time(0.5, g[4m])", 180, "{} 6\n"},
    {"quantile_over_time(NaN, g[4m])", 180, "{} NaN\n"},
    {"quantile_over_time(-1, g[4m])", 180, "{} -Inf\n"},
    {"max_over_time(g[2m])", 300, "{} NaN\n"}, /* nothing but NaN */
    {"deriv(line[10m])", 300, "{} 0.05\n"},
    {"deriv(flat[10m])", 300, "{} 0\n"},
    {"deriv(infs[10m])", 300, "{} NaN\n"},
    {"deriv(one[10m])", 300, ""},
    {"predict_linear(line[10m], 60)", 300, "{} 18\n"},
    {"predict_linear(line[10m] offset 1m, 60)", 300, "{} 18\n"},
    {"absent_over_time(c[5m])", 300, ""},
    {"absent_over_time(nosuch{a=\"b\"}[5m])", 300, "{a=\"b\"} 1\n"},
};

static void test_range_functions(void **state)
{
    (void)state;
    check_cases(range_load, 60000, range_cases, ARRAY_LEN(range_cases));
}

/* ---- sample by sample, and the rest ---- */

static const char sample_load[] = "m{i=\"1\"} -2.5\n"
                                  "m{i=\"2\"} 4\n"
                                  "n NaN\n"
                                  "s{i=\"1\"} 3\n"
                                  "s{i=\"2\"} NaN\n"
                                  "s{i=\"3\"} 1\n"
                                  "leap 1582934400\n"; /* 2020-02-29 */

static const struct check_case sample_cases[] = {
    {"abs(m)", 0, "{i=\"1\"} 2.5\n{i=\"2\"} 4\n"},
    {"ceil(m)", 0, "{i=\"1\"} -2\n{i=\"2\"} 4\n"},
    {"floor(m)", 0, "{i=\"1\"} -3\n{i=\"2\"} 4\n"},
    {"round(m)", 0, "{i=\"1\"} -2\n{i=\"2\"} 4\n"},
    {"round(m, 3)", 0, "{i=\"1\"} -3\n{i=\"2\"} 3\n"},
    {"round(vector(0.17), 0.1)", 0, "{} 0.2\n"},
    {"sgn(m)", 0, "{i=\"1\"} -1\n{i=\"2\"} 1\n"},
    {"sqrt(m)", 0, "{i=\"1\"} NaN\n{i=\"2\"} 2\n"},
    {"exp(vector(0))", 0, "{} 1\n"},
    {"ln(vector(0))", 0, "{} -Inf\n"},
    {"log2(vector(8))", 0, "{} 3\n"},
    {"log10(vector(1000))", 0, "{} 3\n"},
    {"sin(vector(0)) + cos(vector(0)) + tan(vector(0))", 0, "{} 1\n"},
    {"deg(vector(pi()))", 0, "{} 180\n"},
    {"rad(vector(180)) == bool pi()", 0, "{} 1\n"},
    {"clamp(m, -1, 3)", 0, "{i=\"1\"} -1\n{i=\"2\"} 3\n"},
    {"clamp(m, 3, -1)", 0, ""},
    {"clamp(m, NaN, 3)", 0, "{i=\"1\"} NaN\n{i=\"2\"} NaN\n"},
    {"clamp_min(m, 0)", 0, "{i=\"1\"} 0\n{i=\"2\"} 4\n"},
    {"clamp_max(m, 0)", 0, "{i=\"1\"} -2.5\n{i=\"2\"} 0\n"},
    {"scalar(n)", 0, "NaN"},
    {"scalar(m)", 0, "NaN"}, /* two */
    {"scalar(m{i=\"2\"})", 0, "4"},
    {"scalar(nosuch)", 0, "NaN"},
    {"vector(time())", 5, "{} 5\n"},
    {"sort(s)", 0, "s{i=\"3\"} 1\ns{i=\"1\"} 3\ns{i=\"2\"} NaN\n"},
    {"sort_desc(s)", 0, "s{i=\"1\"} 3\ns{i=\"3\"} 1\ns{i=\"2\"} NaN\n"},
    {"absent(m)", 0, ""},
    {"absent(nosuch)", 0, "{} 1\n"},
    {"absent(nosuch{a=\"b\",c=~\"d\",e!=\"f\",g=\"1\",g=\"2\"})", 0, "{a=\"b\"} 1\n"},
    {"absent(sum(nosuch))", 0, "{} 1\n"},
    {"year()", 1582934400, "{} 2020\n"},
    {"month(leap)", 0, "{} 2\n"},
    {"day_of_month(leap)", 0, "{} 29\n"},
    {"days_in_month(leap)", 0, "{} 29\n"},
    {"day_of_week(leap)", 0, "{} 6\n"},
    {"day_of_year(leap)", 0, "{} 60\n"},
    {"hour(vector(3661))", 0, "{} 1\n"},
    {"minute(vector(3661))", 0, "{} 1\n"},
    {"minute(n)", 0, "{} NaN\n"},
    {"year(vector(1e300))", 0, "{} 3170843\n"}, /* the calendar's edge, not a crash */
    {"histogram_count(m)", 0, ""},
};

static void test_sample_functions(void **state)
{
    (void)state;
    check_cases(sample_load, 60000, sample_cases, ARRAY_LEN(sample_cases));
}

/* ---- labels ---- */

static const char label_load[] = "m{node=\"pg1:5432\",zone=\"a\"} 1\n"
                                 "m{node=\"pg2:5433\",zone=\"a\"} 2\n";

static const struct check_case label_cases[] = {
    {"label_replace(m, \"host\", \"$1\", \"node\", \"(.*):.*\")", 0,
     "m{host=\"pg1\",node=\"pg1:5432\",zone=\"a\"} 1\n"
     "m{host=\"pg2\",node=\"pg2:5433\",zone=\"a\"} 2\n"},
    {"label_replace(m, \"host\", \"x-${p}\", \"node\", \".*:(?P<p>.*)\")", 0,
     "m{host=\"x-5432\",node=\"pg1:5432\",zone=\"a\"} 1\n"
     "m{host=\"x-5433\",node=\"pg2:5433\",zone=\"a\"} 2\n"},
    {"label_replace(m, \"zone\", \"\", \"node\", \".*\")", 0,
     "m{node=\"pg1:5432\"} 1\nm{node=\"pg2:5433\"} 2\n"},
    {"label_replace(m, \"host\", \"x\", \"node\", \"pg\")", 0, /* anchored: no match */
     "m{node=\"pg1:5432\",zone=\"a\"} 1\nm{node=\"pg2:5433\",zone=\"a\"} 2\n"},
    {"label_replace(m, \"node\", \"same\", \"node\", \".*\")", 0,
     "error: vector cannot contain metrics with the same labelset"},
    {"label_replace(m, \"\", \"x\", \"node\", \".*\")", 0,
     "error: invalid destination label name in label_replace(): "},
    {"label_replace(m, \"x\", \"x\", \"node\", \"(\")", 0,
     "error: invalid regular expression in label_replace(): ("},
    /* Written here the name stays, even behind a function that drops it. */
    {"label_replace(abs(m{node=~\"pg1.*\"}), \"__name__\", \"n\", \"\", \"\")", 0,
     "n{node=\"pg1:5432\",zone=\"a\"} 1\n"},
    {"label_join(m, \"id\", \"/\", \"zone\", \"node\", \"nosuch\")", 0,
     "m{id=\"a/pg1:5432/\",node=\"pg1:5432\",zone=\"a\"} 1\n"
     "m{id=\"a/pg2:5433/\",node=\"pg2:5433\",zone=\"a\"} 2\n"},
    {"label_join(m, \"node\", \"\")", 0,
     "error: vector cannot contain metrics with the same labelset"},
    {"label_join(m, \"id\", \"\", \"\")", 0, "error: invalid source label name in label_join(): "},
};

static void test_label_functions(void **state)
{
    (void)state;
    check_cases(label_load, 60000, label_cases, ARRAY_LEN(label_cases));
}

/* ---- histograms ---- */

static const char histogram_load[] = "h_bucket{s=\"a\",le=\"0.1\"} 10\n"
                                     "h_bucket{s=\"a\",le=\"0.2\"} 20\n"
                                     "h_bucket{s=\"a\",le=\"1\"} 40\n"
                                     "h_bucket{s=\"a\",le=\"+Inf\"} 50\n"
                                     "h_bucket{s=\"b\",le=\"0.1\"} 0\n"
                                     "h_bucket{s=\"b\",le=\"+Inf\"} 0\n"
                                     "noinf_bucket{le=\"1\"} 1\n"
                                     "noinf_bucket{le=\"2\"} 2\n"
                                     "odd_bucket{le=\"1\"} 10\n"
                                     "odd_bucket{le=\"2\"} 5\n" /* a real decrease: lifted */
                                     "odd_bucket{le=\"3\"} 12\n"
                                     "odd_bucket{le=\"x\"} 99\n"
                                     "odd_bucket 98\n"
                                     "odd_bucket{le=\"+Inf\"} 20\n"
                                     "neg_bucket{le=\"-1\"} 5\n"
                                     "neg_bucket{le=\"+Inf\"} 5\n"
                                     "twin_bucket{le=\"1\"} 5\n"
                                     "twin_bucket{le=\"1.0\"} 5\n"
                                     "twin_bucket{le=\"+Inf\"} 20\n";

static const struct check_case histogram_cases[] = {
    {"histogram_quantile(0.5, h_bucket{s=\"a\"})", 0, "{s=\"a\"} 0.4\n"},
    {"histogram_quantile(0.1, h_bucket)", 0, "{s=\"a\"} 0.05\n{s=\"b\"} NaN\n"},
    {"histogram_quantile(0.9, h_bucket{s=\"a\"})", 0, "{s=\"a\"} 1\n"}, /* in +Inf */
    {"histogram_quantile(2, h_bucket{s=\"a\"})", 0, "{s=\"a\"} +Inf\n"},
    {"histogram_quantile(-1, h_bucket{s=\"a\"})", 0, "{s=\"a\"} -Inf\n"},
    {"histogram_quantile(0.5, noinf_bucket)", 0, "{} NaN\n"},
    {"histogram_quantile(0.55, odd_bucket)", 0, "{} 2.5\n"},
    {"histogram_quantile(0.5, neg_bucket)", 0, "{} -1\n"},
    {"histogram_quantile(0.25, twin_bucket)", 0, "{} 0.5\n"},
    {"histogram_fraction(0, 0.2, h_bucket{s=\"a\"})", 0, "{s=\"a\"} 0.4\n"},
    {"histogram_fraction(0.1, 0.6, h_bucket{s=\"a\"})", 0, "{s=\"a\"} 0.4\n"},
    {"histogram_fraction(1, 1, h_bucket{s=\"a\"})", 0, "{s=\"a\"} 0\n"},
    {"histogram_fraction(0, NaN, h_bucket{s=\"a\"})", 0, "{s=\"a\"} NaN\n"},
    {"histogram_fraction(-Inf, +Inf, h_bucket)", 0, "{s=\"a\"} 1\n{s=\"b\"} NaN\n"},
};

static void test_histogram_functions(void **state)
{
    (void)state;
    check_cases(histogram_load, 60000, histogram_cases, ARRAY_LEN(histogram_cases));
}

/* The shipped alert on lag: the shape that every rule on a replica has. */
static const char rule_load[] =
    "db_replication_lag_seconds{cluster=\"main\",node=\"pg2\",replica=\"replica_1\"} 75\n"
    "db_replication_lag_seconds{cluster=\"main\",node=\"pg3\",replica=\"replica_2\"} 3700\n"
    "db_replication_lag_seconds{cluster=\"main\",node=\"pg4\",replica=\"replica_3\"} 100\n"
    "db_replica_expected_delay_seconds{cluster=\"main\",node=\"pg2\",replica=\"replica_1\"} 0\n"
    "db_replica_expected_delay_seconds{cluster=\"main\",node=\"pg3\",replica=\"replica_2\"} 3600\n";

static const struct check_case rule_cases[] = {
    {"db_replication_lag_seconds - on(cluster,replica) group_left() "
     "db_replica_expected_delay_seconds > 60",
     0,
     "{cluster=\"main\",node=\"pg2\",replica=\"replica_1\"} 75\n"
     "{cluster=\"main\",node=\"pg3\",replica=\"replica_2\"} 100\n"},
};

static void test_rule(void **state)
{
    (void)state;
    check_cases(rule_load, 60000, rule_cases, ARRAY_LEN(rule_cases));
}

static const char *const stable[] = {
    "abs",
    "absent",
    "absent_over_time",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "avg_over_time",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "cos",
    "cosh",
    "count_over_time",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "delta",
    "deriv",
    "exp",
    "first_over_time",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_sum",
    "histogram_stddev",
    "histogram_stdvar",
    "hour",
    "idelta",
    "increase",
    "irate",
    "label_join",
    "label_replace",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "max_over_time",
    "min_over_time",
    "minute",
    "month",
    "pi",
    "predict_linear",
    "present_over_time",
    "rad",
    "rate",
    "resets",
    "round",
    "scalar",
    "sgn",
    "sin",
    "sinh",
    "sort",
    "sort_desc",
    "sqrt",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "tan",
    "tanh",
    "time",
    "timestamp",
    "vector",
    "year",
    "quantile_over_time",
};

/* The table is searched by halves: a row out of order would be a function that is not found. */
static void test_table(void **state)
{

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stable); i++) {
        const struct function *fn = function_find(stable[i]);

        if (!fn)
            fail_msg("%s is not found", stable[i]);
        assert_string_equal(fn->name, stable[i]);
        assert_int_equal(!!fn->math + !!fn->map + !!fn->calendar + !!fn->range + !!fn->eval, 1);
    }
    assert_null(function_find("ABS"));
    assert_null(function_find(""));
}

/* ---- a range query is its instant queries; test_range_functions.c has those that add ---- */

static const char wild[] =
    "c_total{i=\"1\"} 1 5 9 2 4 4 0 _ 7 7 8 1 0 3 stale 2 9 _x4 1+3x9 0+2x9\n"
    "c_total{i=\"2\"} 9 8 7 6 5 4 3 2 1 0 1 2 3 NaN 5 Inf 7x3 0+1x20\n"
    "c_total{i=\"3\"} 0+1x40\n";

static const char *const windows[] = {"rate(c_total[75s])",
                                      "increase(c_total[2m])",
                                      "delta(c_total[1m])",
                                      "resets(c_total[1m])",
                                      "changes(c_total[1m])",
                                      "avg_over_time(c_total[50s])",
                                      "max_over_time(c_total[1m])",
                                      "min_over_time(c_total[1m])",
                                      "quantile_over_time(0.3, c_total[1m])",
                                      "rate(c_total[1m] offset 20s)",
                                      "rate(c_total[5m:10s])",
                                      "rate(c_total[1m] @ 200)"};

static void add_step(struct mem_reader *mr, const char *expr, int64_t t, struct buf *out)
{
    struct check_query q = {
        .expr = expr, .start = t, .end = t, .step = 1, .limits = PROMQL_LIMITS_RULES};

    (void)check_run(mr, &q, out);
}

/* The points of each step's own query must be among those of the whole range. */
static void check_windows(struct mem_reader *mr, const char *expr)
{
    struct check_query q = {.expr = expr,
                            .start = 0,
                            .end = SECONDS(450),
                            .step = SECONDS(7),
                            .limits = PROMQL_LIMITS_RULES};
    struct buf whole, step;
    size_t points = 0, found = 0;

    buf_init(&whole, CHECK_TEXT_MAX);
    buf_init(&step, CHECK_TEXT_MAX);
    (void)check_run(mr, &q, &whole);
    for (const char *c = whole.data; *c; c++)
        points += *c == '@';
    for (int64_t t = q.start; t <= q.end; t += q.step) {
        char *line, *rest;

        buf_clear(&step);
        add_step(mr, expr, t, &step);
        rest = step.data;
        while ((line = strsep(&rest, "\n")) && *line) {
            if (!strstr(whole.data, strchr(line, '}') + 1))
                fail_msg("%s: %s is not in %s", expr, line, whole.data);
            found++;
        }
    }
    assert_true(points > 0);
    assert_int_equal(points, found);
    buf_deinit(&whole);
    buf_deinit(&step);
}

static void test_windows(void **state)
{
    struct mem_reader mr;

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 10000, wild);
    for (size_t i = 0; i < ARRAY_LEN(windows); i++)
        check_windows(&mr, windows[i]);
    mem_reader_deinit(&mr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range_functions),
        cmocka_unit_test(test_sample_functions),
        cmocka_unit_test(test_label_functions),
        cmocka_unit_test(test_histogram_functions),
        cmocka_unit_test(test_rule),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_windows),
    };

    return cmocka_run_group_tests_name("functions", tests, NULL, NULL);
}
