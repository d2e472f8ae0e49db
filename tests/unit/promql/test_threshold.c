/* test_threshold.c: which number an expression compares with, and where it stands. */
#include "pgvigil/promql/threshold.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    const char *expr;
    size_t count;
    const char *literal; /* "": a calculation; NULL: not asked */
    double value;
} cases[] = {
    {"up", 0, NULL, 0},
    {"up == 0", 0, NULL, 0},
    {"up > 60", 1, "60", 60},
    {"60 < up", 1, "60", 60},
    {"up>-1.5", 1, "-1.5", -1.5},
    {"up >= - 3 and on() vector(1)", 1, "- 3", -3},
    {"up <= (1h30m)", 1, "1h30m", 5400},
    {"up < 0x1F or up == 1", 1, "0x1F", 31},
    {"up > 1_000", 1, "1_000", 1000},
    {"up > 1e3 # five", 1, "1e3", 1000},
    {"up > 2 * 30", 1, "", 0},
    {"up > -(5)", 1, "", 0},
    {"up > time()", 0, NULL, 0},
    {"up > down", 0, NULL, 0},
    {"1 > bool 2", 0, NULL, 0},
    {"sum by (x) (increase(a_total{t=\"5\"}[1m])) > 20", 1, "20", 20},
    {"avg_over_time((up > 0.5)[5m:1m])", 1, "0.5", 0.5},
    {"topk(3, up > 7)", 1, "7", 7},
    {"-(up > 7)", 1, "7", 7},
    {"(up > bool 7) == 1", 1, "7", 7},
    {"(up > bool 7) > 0.5", 1, "0.5", 0.5},
    {"up > 1 and up < 5", 2, NULL, 0},
    {"increase(a_total[1m]) > 0 or (b >= 1 and c >= 5)", 3, NULL, 0},
};

static void finds_the_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct promql_error err;
        struct promql_threshold found;
        struct promql_expr *expr = promql_parse(cases[i].expr, &err);
        char literal[32];
        assert_non_null(expr);
        size_t n = promql_threshold_find(expr, &found);
        if (n != cases[i].count)
            fail_msg("%s: %zu comparisons", cases[i].expr, n);
        snprintf(literal, sizeof(literal), "%.*s", (int)found.len, cases[i].expr + found.pos);
        if (cases[i].literal != NULL && strcmp(literal, cases[i].literal) != 0)
            fail_msg("%s: '%s'", cases[i].expr, literal);
        if (cases[i].literal != NULL && cases[i].literal[0] != '\0')
            assert_true(found.value == cases[i].value);
        promql_destroy(&expr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
