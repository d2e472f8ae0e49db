/* What an expression asks for: how far it reaches, and which series its result needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"

#define MINUTE 60000
#define HOUR   (60 * MINUTE)

static struct promql_expr *parse(const char *text)
{
    struct promql_error err;
    struct promql_expr *expr = promql_parse(text, &err);
    if (expr == NULL)
        fail_msg("%s: %s", text, err.text);
    return expr;
}

static void reaches_as_far_as_its_parts(void **state)
{
    static const struct {
        const char *expr;
        int64_t ms;
    } rows[] = {
        {"1 + 2", 0},
        {"time()", 0},
        {"m", 5 * MINUTE},
        {"m offset 1h", HOUR + 5 * MINUTE},
        {"m offset -1h", 0},
        {"rate(m[1m])", MINUTE},
        {"rate(m[1d])", 24 * HOUR},
        {"rate(m[1h] offset 1d)", 25 * HOUR},
        {"rate(m[1h] offset -30m)", 30 * MINUTE},
        {"sum by (a) (rate(m[1m])) / on (a) max_over_time(n[3h])", 3 * HOUR},
        {"m and on () (n offset 3h)", 3 * HOUR + 5 * MINUTE},
        {"absent_over_time(m[1d])", 24 * HOUR},
        {"m unless n offset 1d", 24 * HOUR + 5 * MINUTE},
        {"topk(scalar(m offset 2h), n)", 2 * HOUR + 5 * MINUTE},
        {"max_over_time(rate(m[5m])[1h:1m])", HOUR + 5 * MINUTE},
        {"max_over_time(m[1h:1m] offset 1d)", 25 * HOUR + 5 * MINUTE},
        {"max_over_time(sum_over_time(m[1h:])[1d:5m])", 25 * HOUR + 5 * MINUTE},
        {"max_over_time((m @ end())[1d:])", 5 * MINUTE},
        {"max_over_time((m @ start() offset 1h)[1d:])", HOUR + 5 * MINUTE},
        {"m @ 1700000000", INT64_MAX},
        {"max_over_time(m[1h:] @ 1700000000)", INT64_MAX},
        {"rate(m[(1h + 30m)])", 90 * MINUTE},
        {"-(m) ^ (n offset 2h)", 2 * HOUR + 5 * MINUTE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct promql_expr *expr = parse(rows[i].expr);
        if (promql_reach_ms(expr) != rows[i].ms)
            fail_msg("%s: %lld", rows[i].expr, (long long)promql_reach_ms(expr));
        promql_destroy(&expr);
    }
}

static void the_longest_window_counts(void **state)
{
    static const struct {
        const char *expr;
        int64_t ms;
    } rows[] = {
        {"m offset 1h > 5", 0},
        {"rate(m[1m] offset 1h)", MINUTE},
        {"rate(m[1m]) / on (a) max_over_time(n[3h])", 3 * HOUR},
        {"max_over_time(rate(m[5m])[1h:1m])", HOUR},
        {"max_over_time(rate(m[2h])[1h:1m])", 2 * HOUR},
        {"absent_over_time(m[10m])", 10 * MINUTE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct promql_expr *expr = parse(rows[i].expr);
        if (promql_window_ms(expr) != rows[i].ms)
            fail_msg("%s: %lld", rows[i].expr, (long long)promql_window_ms(expr));
        promql_destroy(&expr);
    }
}

static void add_name(const struct promql_selected *s, void *arg)
{
    struct buf *out = arg;
    const char *name = matchers_metric(s->matchers, s->n);
    buf_printf(out, "%s/%zu ", name != NULL ? name : "?", s->n);
}

static void tells_the_series_that_the_result_needs(void **state)
{
    static const struct {
        const char *expr, *wanted;
    } rows[] = {
        {"1", ""},
        {"a", "a/1 "},
        {"{__name__=~'a.*'}", "?/1 "},
        {"a{x='1',y=~'2'} + b - c", "a/3 b/1 c/1 "},
        {"a unless b", "a/1 "},
        {"a unless b or c", "a/1 c/1 "},
        {"a and (b unless (c or d)) > e", "a/1 b/1 e/1 "},
        {"absent(a) or absent_over_time(b[5m]) or rate(c[5m])", "c/1 "},
        {"absent(sum(a)) * b", "b/1 "},
        {"topk(scalar(a), b)", "a/1 b/1 "},
        {"max_over_time(rate(a[1m])[1h:]) / -b", "a/1 b/1 "},
        {"label_replace(a, 'x', '$1', 'y', '(.*)')", "a/1 "},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct promql_expr *expr = parse(rows[i].expr);
        struct buf out;
        buf_init(&out, 1000);
        buf_add_str(&out, "");
        promql_each_selected(expr, add_name, &out);
        assert_string_equal(out.len > 0 ? out.data : "", rows[i].wanted);
        buf_deinit(&out);
        promql_destroy(&expr);
    }
}

/* A chain as long as the text allows costs no stack. */
static void walks_long_chains(void **state)
{
    char text[PROMQL_LENGTH_MAX];
    size_t n = 0;
    (void)state;
    while (n + 10 < sizeof(text))
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%sm", n > 0 ? "+" : "");
    struct promql_expr *expr = parse(text);
    assert_int_equal(promql_reach_ms(expr), 5 * MINUTE);
    promql_destroy(&expr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reaches_as_far_as_its_parts),
        cmocka_unit_test(the_longest_window_counts),
        cmocka_unit_test(tells_the_series_that_the_result_needs),
        cmocka_unit_test(walks_long_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
