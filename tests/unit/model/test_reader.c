/* test_reader.c: matchers and the stale marker. */
#include "pgvigil/model/reader.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* "Regex" of the test: a prefix. */
static bool has_prefix(const void *regex, const char *text)
{
    const char *prefix = regex;
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void matchers(void **state)
{
    static const struct label pairs[] = {{"__name__", "up"}, {"node", "pg1"}};
    static const struct labels ls = {.v = pairs, .n = 2};
    static const struct {
        struct matcher m[2];
        size_t n;
        bool match;
    } cases[] = {
        {{{0}}, 0, true},
        {{{MATCH_EQ, "node", "pg1", NULL}}, 1, true},
        {{{MATCH_EQ, "node", "pg2", NULL}}, 1, false},
        {{{MATCH_NE, "node", "pg2", NULL}}, 1, true},
        {{{MATCH_NE, "node", "pg1", NULL}}, 1, false},
        {{{MATCH_EQ, "absent", "", NULL}}, 1, true},
        {{{MATCH_NE, "absent", "", NULL}}, 1, false},
        {{{MATCH_NE, "absent", "x", NULL}}, 1, true},
        {{{MATCH_RE, "node", "", "pg"}}, 1, true},
        {{{MATCH_RE, "node", "", "db"}}, 1, false},
        {{{MATCH_NRE, "node", "", "db"}}, 1, true},
        {{{MATCH_NRE, "node", "", "pg"}}, 1, false},
        {{{MATCH_RE, "absent", "", ""}}, 1, true},
        {{{MATCH_EQ, "__name__", "up", NULL}, {MATCH_EQ, "node", "x", NULL}}, 2, false},
        {{{MATCH_EQ, "__name__", "up", NULL}, {MATCH_EQ, "node", "pg1", NULL}}, 2, true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (matchers_match(cases[i].m, cases[i].n, has_prefix, &ls) != cases[i].match)
            fail_msg("case %zu", i);
    }
}

static void only_the_marker_is_stale(void **state)
{
    (void)state;
    assert_true(point_is_stale(point_stale_value()));
    assert_true(isnan(point_stale_value()));
    assert_false(point_is_stale(NAN));
    assert_false(point_is_stale(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matchers),
        cmocka_unit_test(only_the_marker_is_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
