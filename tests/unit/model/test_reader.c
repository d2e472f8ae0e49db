/* test_reader.c: matchers and the stale marker. */
#include "pgvigil/model/reader.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* "Regex" of the test: a prefix; one that begins with ! gives up. */
static enum regex_outcome has_prefix(const void *regex, const char *text)
{
    const char *prefix = regex;
    if (*prefix == '!')
        return REGEX_GAVE_UP;
    return strncmp(text, prefix, strlen(prefix)) == 0 ? REGEX_MATCH : REGEX_NO_MATCH;
}

static void matchers(void **state)
{
    static const struct label pairs[] = {{"__name__", "up"}, {"node", "pg1"}};
    static const struct labels ls = {.v = pairs, .n = 2};
    static const struct {
        struct matcher m[2];
        size_t n;
        enum regex_outcome want;
    } cases[] = {
        {{{0}}, 0, REGEX_MATCH},
        {{{MATCH_EQ, "node", "pg1", NULL}}, 1, REGEX_MATCH},
        {{{MATCH_EQ, "node", "pg2", NULL}}, 1, REGEX_NO_MATCH},
        {{{MATCH_NE, "node", "pg2", NULL}}, 1, REGEX_MATCH},
        {{{MATCH_NE, "node", "pg1", NULL}}, 1, REGEX_NO_MATCH},
        {{{MATCH_EQ, "absent", "", NULL}}, 1, REGEX_MATCH},
        {{{MATCH_NE, "absent", "", NULL}}, 1, REGEX_NO_MATCH},
        {{{MATCH_NE, "absent", "x", NULL}}, 1, REGEX_MATCH},
        {{{MATCH_RE, "node", "", "pg"}}, 1, REGEX_MATCH},
        {{{MATCH_RE, "node", "", "db"}}, 1, REGEX_NO_MATCH},
        {{{MATCH_NRE, "node", "", "db"}}, 1, REGEX_MATCH},
        {{{MATCH_NRE, "node", "", "pg"}}, 1, REGEX_NO_MATCH},
        {{{MATCH_RE, "absent", "", ""}}, 1, REGEX_MATCH},
        {{{MATCH_EQ, "__name__", "up", NULL}, {MATCH_EQ, "node", "x", NULL}}, 2, REGEX_NO_MATCH},
        {{{MATCH_EQ, "__name__", "up", NULL}, {MATCH_EQ, "node", "pg1", NULL}}, 2, REGEX_MATCH},
        {{{MATCH_RE, "node", "", "!"}}, 1, REGEX_GAVE_UP},
        {{{MATCH_NRE, "node", "", "!"}}, 1, REGEX_GAVE_UP},
        {{{MATCH_EQ, "node", "pg1", NULL}, {MATCH_NRE, "node", "", "!"}}, 2, REGEX_GAVE_UP},
        {{{MATCH_EQ, "node", "x", NULL}, {MATCH_RE, "node", "", "!"}}, 2, REGEX_NO_MATCH},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        bool match;
        bool ok = matchers_match(cases[i].m, cases[i].n, has_prefix, &ls, &match, &err);
        enum regex_outcome got = !ok ? REGEX_GAVE_UP : match ? REGEX_MATCH : REGEX_NO_MATCH;
        if (got != cases[i].want)
            fail_msg("case %zu", i);
        assert_int_equal(err.kind, ok ? ERR_NONE : ERR_LIMIT);
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
