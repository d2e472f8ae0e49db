/*
 * Duration expressions, annotations with their places, and what is refused with its class.
 */
#include "promql_check.h"

#define STEP_MS 10000

/* m is a gauge-like counter with value i at i * 10 s; the buckets of h fall once at 20 s. */
static const char load[] = "m{a=\"x\"} 0+1x100\n"
                           "c_total 0+1x100\n"
                           "h_bucket{le=\"1\"} 1 2 5 4x20\n"
                           "h_bucket{le=\"2\"} 2 3 3 5x20\n"
                           "h_bucket{le=\"+Inf\"} 3 4 6 6x20\n"
                           "bad{le=\"x\"} 1x20\n"
                           "bad{le=\"+Inf\"} 2x20\n"
                           "typed{__type__=\"counter\",__unit__=\"s\",a=\"x\"} 5x20\n";

/* ---- durations ---- */

static const struct check_case duration_cases[] = {
    {"count_over_time(m[20s+30s])", 500, "{a=\"x\"} 5\n"},
    {"count_over_time(m[2 * (10s + 5)])", 500, "{a=\"x\"} 3\n"},
    {"count_over_time(m[-10s + 1m])", 500, "{a=\"x\"} 5\n"},
    {"count_over_time(m[90s % 1m])", 500, "{a=\"x\"} 3\n"},
    {"count_over_time(m[2 ^ 3 ^ 1 * 10])", 500, "{a=\"x\"} 8\n"},
    {"count_over_time(m[max_of(1m, MIN_OF(1h, 100))])", 500, "{a=\"x\"} 10\n"},
    {"count_over_time(m[1m / 2 : 5s + 5s])", 500, "{a=\"x\"} 3\n"},
    {"m offset (100 + 2)", 500, "m{a=\"x\"} 39\n"},
    {"m offset -(100 + 2)", 500, "m{a=\"x\"} 60\n"},
    {"m offset 100 + 2", 500, "{a=\"x\"} 42\n"},
    {"m offset range()", 500, "m{a=\"x\"} 50\n"},
    {"m offset - step()", 500, "m{a=\"x\"} 50\n"},
    {"m @ 100 offset max_of(10, 20)", 500, "m{a=\"x\"} 8\n"},
    {"m[step()]", 500, "error: 2:8: duration must be greater than 0"},
    {"m[10s - 1m]", 500, "error: 2:10: duration must be greater than 0"},
    {"m[10s / step()]", 500, "error: 2:14: division by zero"},
    {"m[1e9 ^ 9]", 500, "error: 2:9: duration is out of range"},
    {"m[(0 - 1) ^ 0.5]", 500, "error: 3:15: duration is out of range"},
    {"m[1m / 0]", 500, "error: 1:6: parse error: division by zero"},
    {"m[1m % 0s]", 500, "error: 1:6: parse error: modulo by zero"},
    {"m[1m +]", 500,
     "error: 1:7: parse error: unexpected \"]\" in subquery or range selector, expected number or "
     "duration"},
    {"m[min_of(1m)]", 500,
     "error: 1:12: parse error: unexpected \")\" in subquery or range selector, expected \",\""},
    {"m[step(1)]", 500,
     "error: 1:8: parse error: unexpected number \"1\" in subquery or range selector, expected "
     "\")\""},
    {"m offset", 500,
     "error: 1:9: parse error: unexpected end of input in offset, expected number or duration"},
    {"step + 1", 500, ""},
};

static void test_durations(void **state)
{
    struct mem_reader mr;
    const struct check_query by_step = {.expr = "count_over_time(m[step() + range()])",
                                        .start = SECONDS(400),
                                        .end = SECONDS(500),
                                        .step = SECONDS(50),
                                        .limits = PROMQL_LIMITS_RULES};

    (void)state;
    check_cases(load, STEP_MS, duration_cases, ARRAY_LEN(duration_cases));
    mem_reader_init(&mr);
    mem_reader_load(&mr, STEP_MS, load);
    check_query(&mr, &by_step, "{a=\"x\"} 15@400 15@450 15@500\n");
    mem_reader_deinit(&mr);
}

static void test_duration_depth(void **state)
{
    struct promql_error err = {0};
    char text[4000];

    (void)state;
    memset(text, '(', sizeof(text));
    memcpy(text, "m[", 2);
    text[sizeof(text) - 1] = '\0';
    assert_null(promql_parse(text, &err));
    assert_non_null(strstr(err.text, "nested deeper than 64 levels"));
    for (size_t i = 2; i < sizeof(text) - 3; i += 2)
        memcpy(text + i, "1+", 2);
    memcpy(text + sizeof(text) - 3, "1]", 3);
    assert_null(promql_parse(text, &err));
    assert_non_null(strstr(err.text, "nested deeper than 64 levels"));
}

/* ---- annotations ---- */

static const struct {
    const char *expr;
    int64_t step_s; /* 0 = instant */
    const char *want;
} note_cases[] = {
    {"rate(c_total[1m])", 0, ""},
    {"rate(m[1m])", 0,
     "PromQL info: metric might not be a counter, name does not end in "
     "_total/_sum/_count/_bucket: \"m\" (1:6)\n"},
    {"sum(\n increase(m[1m]))", 60,
     "PromQL info: metric might not be a counter, name does not end in "
     "_total/_sum/_count/_bucket: \"m\" (2:11)\n"},
    /* Nothing came out, so nothing is told. */
    {"rate(m[1s])", 0, ""},
    {"delta(m[1m])", 0, ""},
    {"rate(m[1m]) + rate(m[2m])", 0,
     "PromQL info: metric might not be a counter, name does not end in "
     "_total/_sum/_count/_bucket: \"m\" (1:20)\n"},
    {"quantile(1.5, m)", 0,
     "PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)\n"},
    {"quantile(0, m) + quantile(1, m)", 0, ""},
    {"quantile_over_time(-Inf, m[1m])", 0,
     "PromQL warning: quantile value should be between 0 and 1, got -Inf (1:20)\n"},
    {"quantile_over_time(NaN, none[1m])", 0, ""},
    {"histogram_quantile(1000000, h_bucket)", 0,
     "PromQL warning: quantile value should be between 0 and 1, got 1e+06 (1:20)\n"},
    {"histogram_quantile(0.5, bad)", 0,
     "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric "
     "name \"bad\" (1:25)\n"},
    {"histogram_quantile(0.5, vector(1))", 0,
     "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" (1:25)\n"},
    {"histogram_quantile(0.5, h_bucket)", 0, ""},
    {"histogram_quantile(0.5, h_bucket @ 20)", 0,
     "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
     "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for "
     "metric name \"h_bucket\", from buckets 2 to 2, with a max diff of 2, over 1 samples from "
     "1970-01-01T00:01:40Z to 1970-01-01T00:01:40Z (1:25)\n"},
    {"histogram_fraction(0, 1, h_bucket @ 20)", 0, ""},
    {"sort(m)", 0, ""},
    {"sort_desc(m)", 10,
     "PromQL warning: sort is ineffective for range queries since results are always ordered by "
     "labels (1:1)\n"},
    {"sum_over_time(sort(m)[1m:])", 0, ""},
};

static void check_notes(struct mem_reader *mr, const char *text, int64_t step_s, const char *want)
{
    const struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct promql_error perr;
    struct promql_expr *expr = promql_parse(text, &perr);
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct promql_value value;
    struct err err;
    struct buf got;

    assert_non_null(expr);
    if (step_s > 0)
        assert_true(promql_range(expr, &mr->reader, SECONDS(100), SECONDS(200), SECONDS(step_s),
                                 &limits, arena, &value, &err));
    else
        assert_true(promql_instant(expr, &mr->reader, SECONDS(100), &limits, arena, &value, &err));
    promql_destroy(&expr);
    buf_init(&got, 4096);
    for (size_t i = 0; i < value.note_count; i++) {
        buf_printf(&got, "%s\n", value.notes[i].text);
        assert_int_equal(value.notes[i].is_warning,
                         strncmp(value.notes[i].text, "PromQL warning", 14) == 0);
    }
    if (strcmp(got.data, want) != 0)
        fail_msg("%s\n  wanted: %s\n  got:    %s", text, want, got.data);
    buf_deinit(&got);
    arena_destroy(&arena);
}

static void test_notes(void **state)
{
    struct mem_reader mr;

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, STEP_MS, load);
    for (size_t i = 0; i < ARRAY_LEN(note_cases); i++)
        check_notes(&mr, note_cases[i].expr, note_cases[i].step_s, note_cases[i].want);
    mem_reader_deinit(&mr);
}

/* However many names there are to tell about, the result stays small. */
static void test_note_limit(void **state)
{
    const struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct promql_error perr;
    struct promql_expr *expr = promql_parse("rate({x=\"1\"}[1m])", &perr);
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct promql_value value;
    struct mem_reader mr;
    struct err err;
    char line[64];

    (void)state;
    mem_reader_init(&mr);
    for (int i = 0; i < 2 * PROMQL_NOTES_MAX; i++) {
        snprintf(line, sizeof(line), "n%d{x=\"1\",i=\"%d\"} 0+1x20\n", i, i);
        mem_reader_load(&mr, STEP_MS, line);
    }
    assert_true(promql_instant(expr, &mr.reader, SECONDS(100), &limits, arena, &value, &err));
    assert_int_equal(value.n, 2 * PROMQL_NOTES_MAX);
    assert_int_equal(value.note_count, PROMQL_NOTES_MAX);
    promql_destroy(&expr);
    arena_destroy(&arena);
    mem_reader_deinit(&mr);
}

/* ---- type and unit go with the name ---- */

static const struct check_case metadata_cases[] = {
    {"-typed", 100, "{a=\"x\"} -5\n"},
    {"typed", 100, "typed{__type__=\"counter\",__unit__=\"s\",a=\"x\"} 5\n"},
    {"sum without (b) (typed)", 100, "{a=\"x\"} 5\n"},
    {"sum by (__type__) (typed)", 100, "{__type__=\"counter\"} 5\n"},
    {"typed + m", 100, "{a=\"x\"} 15\n"},
};

static void test_metadata(void **state)
{
    (void)state;
    check_cases(load, STEP_MS, metadata_cases, ARRAY_LEN(metadata_cases));
}

/* ---- refusals ---- */

static const struct {
    const char *expr;
    enum promql_refusal refusal;
    const char *text;
} refusal_cases[] = {
    {"sum(mad_over_time(m[5m]))", PROMQL_EXPERIMENTAL,
     "1:5: parse error: function \"mad_over_time\" is experimental and is not supported"},
    {"limitk(2, m)", PROMQL_EXPERIMENTAL,
     "1:1: parse error: limitk() is experimental and is not supported"},
    {"limit_ratio by (a) (0.5, m)", PROMQL_EXPERIMENTAL,
     "1:1: parse error: limit_ratio() is experimental and is not supported"},
    {"info(m, {data=~\".*\"})", PROMQL_EXPERIMENTAL,
     "1:1: parse error: function \"info\" is experimental and is not supported"},
    {"m - start()", PROMQL_EXPERIMENTAL,
     "1:5: parse error: function \"start\" is experimental and is not supported"},
    {"m + on (a) group_left fill_left (0) fill_right(-1) m", PROMQL_EXPERIMENTAL,
     "1:23: parse error: fill modifiers are experimental and are not supported"},
    {"rate(m[5m] anchored)", PROMQL_EXPERIMENTAL,
     "1:12: parse error: modifier \"anchored\" is experimental and is not supported"},
    {"m </ 5", PROMQL_NATIVE_HISTOGRAM,
     "1:3: parse error: operator \"</\" is for native histograms, which are not supported"},
    {"holt_winters(m[5m], 1, 1)", PROMQL_NOT_REFUSED,
     "1:1: parse error: unknown function with name \"holt_winters\""},
    /* Bad syntax is told first. */
    {"info(m", PROMQL_NOT_REFUSED, "1:7: parse error: unclosed left parenthesis"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusal_cases); i++) {
        struct promql_error err = {0};

        if (promql_parse(refusal_cases[i].expr, &err))
            fail_msg("%s: taken", refusal_cases[i].expr);
        assert_string_equal(err.text, refusal_cases[i].text);
        assert_int_equal(err.refusal, refusal_cases[i].refusal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations), cmocka_unit_test(test_duration_depth),
        cmocka_unit_test(test_notes),     cmocka_unit_test(test_note_limit),
        cmocka_unit_test(test_metadata),  cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests_name("notes", tests, NULL, NULL);
}
