/* Selection, operators, aggregation, range queries and the evaluator's limits. */
#include "promql_check.h"

#include "pgvigil/base/clock.h"

/* ---- selection: points at 0, 60, 120, ... ---- */

static const char selection_load[] = "m{a=\"x\"} 1 2 3 stale 5 6\n"
                                     "m{a=\"y\"} 10 _ 30\n"
                                     "other{a=\"x\"} 7x10\n"
                                     "\xc3\xbc{a=\"z\"} 1\n";

static const struct check_case selection_cases[] = {
    {"m", 0, "m{a=\"x\"} 1\nm{a=\"y\"} 10\n"},
    {"m", 119, "m{a=\"x\"} 2\nm{a=\"y\"} 10\n"},
    {"m", 180, "m{a=\"y\"} 30\n"}, /* stale: older samples are not looked at */
    {"m", 240, "m{a=\"x\"} 5\nm{a=\"y\"} 30\n"},
    {"m", 419, "m{a=\"x\"} 6\nm{a=\"y\"} 30\n"},
    {"m", 420, "m{a=\"x\"} 6\n"}, /* the lookback is open on the left */
    {"m", 600, ""},
    {"m", -1, ""},
    {"m offset 1m", 60, "m{a=\"x\"} 1\nm{a=\"y\"} 10\n"},
    {"m offset -1m", 0, "m{a=\"x\"} 2\nm{a=\"y\"} 10\n"},
    {"m @ 60", 10000, "m{a=\"x\"} 2\nm{a=\"y\"} 10\n"},
    {"m @ 120 offset 1m", 10000, "m{a=\"x\"} 2\nm{a=\"y\"} 10\n"},
    {"m @ start() + m @ end()", 60, "{a=\"x\"} 4\n{a=\"y\"} 20\n"},
    {"m{a=\"x\"}", 0, "m{a=\"x\"} 1\n"},
    {"m{a!=\"x\"}", 0, "m{a=\"y\"} 10\n"},
    {"m{a=~\"x|z\"}", 0, "m{a=\"x\"} 1\n"},
    {"m{a!~\"x.*\"}", 0, "m{a=\"y\"} 10\n"},
    {"m{b=\"\"}", 0, "m{a=\"x\"} 1\nm{a=\"y\"} 10\n"},
    {"{__name__=~\"o.*\"}", 0, "other{a=\"x\"} 7\n"},
    {"{\"m\", a=\"x\"}", 0, "m{a=\"x\"} 1\n"},
    /* Ranges: (t - r, t], stale markers left out. */
    {"m[2m]", 240, "m{a=\"x\"} 5@240\n"},
    {"m[4m]", 240, "m{a=\"x\"} 2@60 3@120 5@240\nm{a=\"y\"} 30@120\n"},
    {"m[1m] offset 1m", 120, "m{a=\"x\"} 2@60\n"},
    {"m[1m] @ 60", 0, "m{a=\"x\"} 2@60\n"},
    {"count_over_time(m{a=\"x\"}[5m])", 300, "{a=\"x\"} 4\n"},
    {"count_over_time(m{a=\"x\"}[300])", 300, "{a=\"x\"} 4\n"},
    /* Subqueries: absolute multiples of the step. */
    {"m{a=\"x\"}[2m:30s]", 130, "m{a=\"x\"} 1@30 2@60 2@90 3@120\n"},
    {"sum(m)[2m:]", 130, "{} 12@60 33@120\n"},
    {"max_over_time(sum(m)[2m:])", 130, "{} 33\n"},
    {"max_over_time((m * 2)[2m:1m] offset 1m)", 190, "{a=\"x\"} 6\n{a=\"y\"} 60\n"},
    {"m[1m:1m] @ 60", 0, "m{a=\"x\"} 2@60\nm{a=\"y\"} 10@60\n"},
    {"time()", 12, "12"},
    {"1h", 0, "3600"},
    {"\"text\"", 0, "text"},
    {"timestamp(m)", 90, "{a=\"x\"} 60\n{a=\"y\"} 0\n"},
    {"timestamp(m + 0)", 90, "{a=\"x\"} 90\n{a=\"y\"} 90\n"},
};

static void test_selection(void **state)
{
    (void)state;
    check_cases(selection_load, 60000, selection_cases, ARRAY_LEN(selection_cases));
}

/* ---- operators ---- */

static const char operator_load[] = "a{x=\"1\",i=\"p\"} 10\n"
                                    "a{x=\"2\",i=\"q\"} 20\n"
                                    "b{x=\"1\"} 1\n"
                                    "b{x=\"3\"} 3\n"
                                    "many{x=\"1\",n=\"1\"} 100\n"
                                    "many{x=\"1\",n=\"2\"} 200\n"
                                    "info{x=\"1\",role=\"standby\"} 1\n"
                                    "twice{x=\"1\",n=\"1\"} 1\n"
                                    "twice{x=\"1\",n=\"2\"} 2\n"
                                    "nans NaN\n";

static const struct check_case operator_cases[] = {
    {"-2 ^ 2", 0, "-4"},
    {"2 ^ 3 ^ 2", 0, "512"},
    {"-5 % 3", 0, "-2"},
    {"1 / 0", 0, "+Inf"},
    {"0 / 0", 0, "NaN"},
    {"010 + 08", 0, "16"},
    {"1 < bool 2", 0, "1"},
    {"2 == bool 1", 0, "0"},
    {"0 atan2 -1", 0, "3.141592653589793"},
    {"a + 1", 0, "{i=\"p\",x=\"1\"} 11\n{i=\"q\",x=\"2\"} 21\n"},
    {"1 - a", 0, "{i=\"p\",x=\"1\"} -9\n{i=\"q\",x=\"2\"} -19\n"},
    {"-a{x=\"1\"}", 0, "{i=\"p\",x=\"1\"} -10\n"},
    {"+a{x=\"1\"}", 0, "a{i=\"p\",x=\"1\"} 10\n"},
    {"a > 15", 0, "a{i=\"q\",x=\"2\"} 20\n"},
    {"15 < a", 0, "a{i=\"q\",x=\"2\"} 20\n"}, /* the vector's value */
    {"a > bool 15", 0, "{i=\"p\",x=\"1\"} 0\n{i=\"q\",x=\"2\"} 1\n"},
    {"nans != nans", 0, "nans NaN\n"},
    {"nans == nans", 0, ""},
    {"a + on (x) b", 0, "{x=\"1\"} 11\n"},
    {"a + ignoring (i) b", 0, "{x=\"1\"} 11\n"},
    {"a > on (x) b", 0, "{x=\"1\"} 10\n"},
    {"a > ignoring (i) b", 0, "a{x=\"1\"} 10\n"},
    {"a + b", 0, ""},
    {"many - on (x) group_left () b", 0, "{n=\"1\",x=\"1\"} 99\n{n=\"2\",x=\"1\"} 199\n"},
    {"b - on (x) group_right () many", 0, "{n=\"1\",x=\"1\"} -99\n{n=\"2\",x=\"1\"} -199\n"},
    {"b < on (x) group_right () many", 0, "many{n=\"1\",x=\"1\"} 1\nmany{n=\"2\",x=\"1\"} 1\n"},
    {"many * on (x) group_left (role) info", 0,
     "{n=\"1\",role=\"standby\",x=\"1\"} 100\n{n=\"2\",role=\"standby\",x=\"1\"} 200\n"},
    {"many * on (x) group_left (n) info", 0,
     "error: multiple matches for labels: grouping labels must ensure unique matches"},
    {"many + on (x) b", 0,
     "error: multiple matches for labels: many-to-one matching must be explicit "
     "(group_left/group_right)"},
    {"many > on (x) group_left () twice", 0,
     "error: found duplicate series for the match group {x=\"1\"} on the right hand-side of the "
     "operation: [{__name__=\"twice\", n=\"1\", x=\"1\"}, {__name__=\"twice\", n=\"2\", "
     "x=\"1\"}];many-to-many matching not allowed: matching labels must be unique on one side"},
    {"a and on (x) b", 0, "a{i=\"p\",x=\"1\"} 10\n"},
    {"a unless on (x) b", 0, "a{i=\"q\",x=\"2\"} 20\n"},
    {"a or on (x) b", 0, "a{i=\"p\",x=\"1\"} 10\na{i=\"q\",x=\"2\"} 20\nb{x=\"3\"} 3\n"},
    {"many and on (x) twice", 0, "many{n=\"1\",x=\"1\"} 100\nmany{n=\"2\",x=\"1\"} 200\n"},
    {"b and on () vector(1)", 0, "b{x=\"1\"} 1\nb{x=\"3\"} 3\n"},
    {"b unless on () vector(1)", 0, ""},
    {"a > 5 < 15 or b > 2", 0, "a{i=\"p\",x=\"1\"} 10\nb{x=\"3\"} 3\n"},
    {"{__name__=~\"a|b\",x=\"1\"} * 0 + 1", 0, "{i=\"p\",x=\"1\"} 1\n{x=\"1\"} 1\n"},
    {"-{__name__=~\"twice|many\",n=\"1\"}", 0,
     "error: vector cannot contain metrics with the same labelset"},
};

static void test_operators(void **state)
{
    (void)state;
    check_cases(operator_load, 60000, operator_cases, ARRAY_LEN(operator_cases));
}

/* ---- aggregation ---- */

static const char aggregation_load[] = "m{g=\"a\",i=\"1\"} 1\n"
                                       "m{g=\"a\",i=\"2\"} 3\n"
                                       "m{g=\"b\",i=\"1\"} 10\n"
                                       "m{g=\"b\",i=\"2\"} NaN\n"
                                       "big{i=\"1\"} 1e21\n"
                                       "big{i=\"2\"} 0.0000001\n"
                                       "tiny{i=\"1\"} 1e100\n"
                                       "tiny{i=\"2\"} 1\n"
                                       "tiny{i=\"3\"} -1e100\n"
                                       "huge{i=\"1\"} 1e308\n"
                                       "huge{i=\"2\"} 1e308\n"
                                       "infs{i=\"1\"} Inf\n"
                                       "nans{i=\"1\"} NaN\n"
                                       "nans{i=\"2\"} 1\n"
                                       "nans{i=\"3\"} 2\n";

static const struct check_case aggregation_cases[] = {
    {"sum(m{g=\"a\"})", 0, "{} 4\n"},
    {"sum by (g) (m)", 0, "{g=\"a\"} 4\n{g=\"b\"} NaN\n"},
    {"sum without (i) (m{g=\"a\"})", 0, "{g=\"a\"} 4\n"},
    {"sum by (__name__) (m{g=\"a\"})", 0, "m 4\n"},
    {"sum by (nosuch) (m{g=\"a\"})", 0, "{} 4\n"},
    {"sum(tiny)", 0, "{} 1\n"}, /* Kahan */
    {"avg(huge)", 0, "{} 1e+308\n"},
    {"avg by (g) (m)", 0, "{g=\"a\"} 2\n{g=\"b\"} NaN\n"},
    {"min by (g) (m)", 0, "{g=\"a\"} 1\n{g=\"b\"} 10\n"},
    {"max by (g) (m)", 0, "{g=\"a\"} 3\n{g=\"b\"} 10\n"},
    {"count by (g) (m)", 0, "{g=\"a\"} 2\n{g=\"b\"} 2\n"},
    {"group by (g) (m)", 0, "{g=\"a\"} 1\n{g=\"b\"} 1\n"},
    {"stddev(m{g=\"a\"})", 0, "{} 1\n"},
    {"stdvar(infs)", 0, "{} NaN\n"},
    {"topk(1, m)", 0, "m{g=\"b\",i=\"1\"} 10\n"},
    {"topk(3, m)", 0, "m{g=\"b\",i=\"1\"} 10\nm{g=\"a\",i=\"2\"} 3\nm{g=\"a\",i=\"1\"} 1\n"},
    {"topk by (g) (1, m)", 0, "m{g=\"a\",i=\"2\"} 3\nm{g=\"b\",i=\"1\"} 10\n"},
    {"bottomk(2, m)", 0, "m{g=\"a\",i=\"1\"} 1\nm{g=\"a\",i=\"2\"} 3\n"},
    {"topk(3, nans)", 0, "nans{i=\"3\"} 2\nnans{i=\"2\"} 1\nnans{i=\"1\"} NaN\n"},
    {"bottomk(3, nans)", 0, "nans{i=\"2\"} 1\nnans{i=\"3\"} 2\nnans{i=\"1\"} NaN\n"},
    {"topk(0.9, m)", 0, ""},
    {"topk(NaN, m)", 0, "error: Parameter value is NaN"},
    {"topk(1e300, m)", 0, "error: Scalar value 1e+300 overflows int64"},
    {"quantile(0.5, m{g=\"a\"})", 0, "{} 2\n"},
    {"quantile by (g) (2, m)", 0, "{g=\"a\"} +Inf\n{g=\"b\"} +Inf\n"},
    {"count_values(\"v\", m)", 0, "{v=\"1\"} 1\n{v=\"10\"} 1\n{v=\"3\"} 1\n{v=\"NaN\"} 1\n"},
    {"count_values(\"v\", big)", 0, "{v=\"0.0000001\"} 1\n{v=\"1000000000000000000000\"} 1\n"},
    {"count_values by (g) (\"g\", m * 0 + 1)", 0, "{g=\"1\"} 3\n{g=\"NaN\"} 1\n"},
    {"count_values(\"\", m)", 0, "error: invalid label name \"\""},
    {"count_values(\"\", nothing)", 0, "error: invalid label name \"\""},
    {"sum(nosuch)", 0, ""},
};

static void test_aggregation(void **state)
{
    (void)state;
    check_cases(aggregation_load, 60000, aggregation_cases, ARRAY_LEN(aggregation_cases));
}

/* ---- range queries ---- */

static const struct {
    const char *expr;
    int64_t start_s, end_s, step_s;
    const char *want;
} range_cases[] = {
    {"1", 0, 120, 60, "{} 1@0 1@60 1@120\n"},
    {"time()", 10, 70, 30, "{} 10@10 40@40 70@70\n"},
    {"m", 0, 300, 60,
     "m{a=\"x\"} 1@0 2@60 3@120 5@240 6@300\nm{a=\"y\"} 10@0 10@60 30@120 "
     "30@180 30@240 30@300\n"},
    {"m > 2 < 20", 0, 120, 60, "m{a=\"x\"} 3@120\nm{a=\"y\"} 10@0 10@60\n"},
    {"sum(m)", 60, 240, 60, "{} 12@60 33@120 30@180 35@240\n"},
    {"topk(1, m)", 0, 60, 60, "m{a=\"y\"} 10@0 10@60\n"},
    {"m @ 60", 0, 60, 60, "m{a=\"x\"} 2@0 2@60\nm{a=\"y\"} 10@0 10@60\n"},
    {"m{a=\"x\"} @ end()", 0, 60, 60, "m{a=\"x\"} 2@0 2@60\n"},
    {"increase(m{a=\"x\"}[2m]) > 0", 60, 120, 30, "{a=\"x\"} 2@60 2@90 2@120\n"},
    {"max_over_time(m{a=\"x\"}[1m:30s])", 60, 120, 30, "{a=\"x\"} 2@60 2@90 3@120\n"},
    {"absent(m{a=\"x\"})", 120, 240, 60, "{a=\"x\"} 1@180\n"},
    {"sort_desc(m)", 0, 0, 60, "m{a=\"x\"} 1@0\nm{a=\"y\"} 10@0\n"},
    {"m == on () group_left () max(m)", 0, 60, 60, "m{a=\"y\"} 10@0 10@60\n"},
    /* Both edges of a window, and of the lookback, at each step. */
    {"count_over_time(m{a=\"y\"}[2m])", 0, 120, 60, "{a=\"y\"} 1@0 1@60 1@120\n"},
    {"m{a=\"y\"}", 360, 480, 60, "m{a=\"y\"} 30@360\n"},
    {"1", 60, 0, 60, "error: invalid range: start 60000, end 0, step 60000"},
    {"1", 0, 11001, 1,
     "error: exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
     "resolution (?step=XX)"},
    {"m[1m]", 0, 60, 60,
     "error: invalid expression type \"range vector\" for range query, must be Scalar or instant "
     "Vector"},
    {"\"s\"", 0, 60, 60,
     "error: invalid expression type \"string\" for range query, must be Scalar or instant "
     "Vector"},
};

static void test_ranges(void **state)
{
    struct mem_reader mr;

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 60000, selection_load);
    for (size_t i = 0; i < ARRAY_LEN(range_cases); i++) {
        struct check_query q = {.expr = range_cases[i].expr,
                                .start = SECONDS(range_cases[i].start_s),
                                .end = SECONDS(range_cases[i].end_s),
                                .step = SECONDS(range_cases[i].step_s),
                                .limits = PROMQL_LIMITS_RULES};

        check_query(&mr, &q, range_cases[i].want);
    }
    mem_reader_deinit(&mr);
}

/* Two series that lose their names become one if they never have a value at the same step. */
static void test_names_merge(void **state)
{
    struct mem_reader mr;
    struct check_query q = {.expr = "-a or -b",
                            .end = SECONDS(600),
                            .step = SECONDS(600),
                            .limits = PROMQL_LIMITS_RULES};

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 600000, "a 1 _\nb 3 4\n");
    check_query(&mr, &q, "{} -1@0 -4@600\n");
    mem_reader_deinit(&mr);
}

/* Few rows that meet many: what is kept by key has room for the keys of the larger side. */
static void test_few_meet_many(void **state)
{
    struct mem_reader mr;
    struct check_query q = {.expr = "sum(few + on (i) all)", .limits = PROMQL_LIMITS_RULES};
    char line[64];

    (void)state;
    mem_reader_init(&mr);
    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof(line), "all{i=\"%d\"} 1\n", i);
        mem_reader_load(&mr, 60000, line);
    }
    for (int i = 180; i < 200; i++) {
        snprintf(line, sizeof(line), "few{i=\"%d\"} 10\n", i);
        mem_reader_load(&mr, 60000, line);
    }
    check_query(&mr, &q, "{} 220\n");
    mem_reader_deinit(&mr);
}

/* However many steps, each selector asks the reader once. */
static void test_selects_once(void **state)
{
    struct mem_reader mr;
    struct buf out;
    struct check_query q = {.expr = "m + m offset 1m > 3 and rate(m[5m])",
                            .end = SECONDS(10000),
                            .step = 1000,
                            .limits = PROMQL_LIMITS_RULES};

    (void)state;
    buf_init(&out, CHECK_TEXT_MAX);
    mem_reader_init(&mr);
    mem_reader_load(&mr, 60000, selection_load);
    assert_int_equal(check_run(&mr, &q, &out), ERR_NONE);
    assert_int_equal(mr.selects, 3);
    mem_reader_deinit(&mr);
    buf_deinit(&out);
}

/* ---- limits ---- */

static bool always(void *arg)
{
    ++*(int *)arg;
    return true;
}

static const struct {
    const char *expr;
    int64_t end_s; /* 0 = instant */
    size_t max_samples, arena_limit;
    bool cancel;
    enum err_kind kind;
    const char *text;
} limit_cases[] = {
    {"m", 0, 1, 0, false, ERR_LIMIT, "too many points"},
    {"1 + 1 + 1", 1000, 500, 0, false, ERR_LIMIT, "too many samples into memory"},
    {"max_over_time(m[290y:1ms])", 0, 1000, 0, false, ERR_LIMIT, "too many samples"},
    {"max_over_time(vector(1)[290y:1ms])", 0, 1000000, 0, false, ERR_LIMIT, "too many samples"},
    {"max_over_time(max_over_time(m[1d:1s])[1d:1s])", 0, 10000, 0, false, ERR_LIMIT,
     "too many samples"},
    {"sum(m * 2)", 5000, 5000000, 50000, false, ERR_LIMIT, "more memory than its budget"},
    {"m", 0, 100, 0, true, ERR_TIMEOUT, "timed out"},
    {"m", 0, 100, 0, false, ERR_NONE, "m{"},
    {"m{a=~\"(a|aa)*(a|aa)*(a|aa)*b\"}", 0, 100, 0, false, ERR_LIMIT, "too many steps"},
    {"label_replace(m, \"x\", \"y\", \"a\", \"(a|aa)*(a|aa)*(a|aa)*b\")", 0, 100, 0, false,
     ERR_LIMIT, "too many steps"},
};

static void test_limits(void **state)
{
    struct mem_reader mr;
    int calls = 0;

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 60000,
                    "m{a=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaacb\"} 1x100\n"
                    "m{a=\"y\"} 2x100\n");
    for (size_t i = 0; i < ARRAY_LEN(limit_cases); i++) {
        struct check_query q = {.expr = limit_cases[i].expr,
                                .end = SECONDS(limit_cases[i].end_s),
                                .step = limit_cases[i].end_s > 0 ? 1000 : 0,
                                .limits = {.max_samples = limit_cases[i].max_samples},
                                .arena_limit = limit_cases[i].arena_limit};
        struct buf out;

        q.limits.cancelled = limit_cases[i].cancel ? always : NULL;
        q.limits.arg = &calls;
        buf_init(&out, CHECK_TEXT_MAX);
        if (check_run(&mr, &q, &out) != limit_cases[i].kind ||
            !strstr(out.data, limit_cases[i].text))
            fail_msg("%s: %.200s", q.expr, out.data);
        buf_deinit(&out);
    }
    assert_true(calls > 0);
    mem_reader_deinit(&mr);
}

/* A chain as long as an expression may be costs no stack and little time. */
static void test_long_chain(void **state)
{
    uint64_t start = clock_stage_ns();
    struct mem_reader mr;
    struct buf expr;

    (void)state;
    mem_reader_init(&mr);
    buf_init(&expr, PROMQL_LENGTH_MAX);
    buf_add_str(&expr, "0");
    for (int i = 0; i < 4000; i++)
        buf_add_str(&expr, "+1");
    check_instant(&mr, &(struct check_case){expr.data, 0, "4000"});
    assert_true(clock_stage_ns() - start < UINT64_C(2000000000));
    buf_deinit(&expr);
    mem_reader_deinit(&mr);
}

static void test_lookback_limit(void **state)
{
    struct mem_reader mr;
    struct check_query q = {
        .expr = "m", .start = SECONDS(59), .limits = {.max_samples = 100, .lookback_ms = 60000}};

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 60000, "m 1\n");
    check_query(&mr, &q, "m 1\n");
    q.start = SECONDS(60);
    check_query(&mr, &q, "");
    q.start = INT64_MAX;
    check_query(&mr, &q, "error: time is out of range");
    mem_reader_deinit(&mr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selection),      cmocka_unit_test(test_operators),
        cmocka_unit_test(test_aggregation),    cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_names_merge),    cmocka_unit_test(test_selects_once),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_lookback_limit), cmocka_unit_test(test_few_meet_many),
    };

    return cmocka_run_group_tests_name("eval", tests, NULL, NULL);
}
