/* RE2's language: what matches, what is refused, and that nothing runs for ever. */
#include "../../../agent/promql/promql_private.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pgvigil/base/clock.h"

static const struct {
    const char *pattern, *text;
    bool matches;
} match_cases[] = {
    {"", "", true},
    {"", "a", false},
    {"a", "a", true},
    {"a", "ab", false},
    {"b", "ab", false},
    {"a|bc", "bc", true},
    {"a|bc", "abc", false},
    {"a|", "", true},
    {"a\\.b|c", "a.b", true},
    {"a\\.b|c", "axb", false},
    {".*", "", true},
    {".*", "a\nb", true},
    {".+", "", false},
    {".+", "x", true},
    {"re.*", "replica", true},
    {"re.*", "primary", false},
    {"re\\.*", "re..", true},
    {"re\\.*", "rex", false},
    {"a.b", "a\nb", true},
    {"a.b",
     "a\xc3\xa4"
     "b",
     true}, /* one character */
    {"a$", "a\n", false},
    {"(?i)ABC", "abc", true},
    {"[[:digit:]]+", "123", true},
    {"[^a]b", "cb", true},
    {"[[]x", "[x", true},
    {"[]a]+", "]a", true},
    {"\\d{2,3}", "123", true},
    {"\\d{2,3}", "1", false},
    {"x{,2}", "x{,2}", true},
    {"\\Qa.b\\E", "a.b", true},
    {"\\Qa.b\\E", "axb", false},
    {"(?P<x>a)(?:b)(?<y>c)", "abc", true},
    {"a\\vb",
     "a\x0b"
     "b",
     true},
    {"a\\vb", "a\nb", false},
    {"a+?b", "aab", true},
    {"^a$", "a", true},
    {"\\p{Greek}+", "\xce\xb1\xce\xb2", true},
    {"\\p{Lu}{2}", "AB", true},
    {"\\pL\\PL", "a1", true},
    {"\\x{1F600}", "\xf0\x9f\x98\x80", true},
    {"\\x{1F600}", "1F600", false},
    {"a\\x41{2}", "aAA", true},
    {"[\\x{1F600}\\p{Lu}]+",
     "\xf0\x9f\x98\x80"
     "A",
     true},
    {"a.*", "a\xff", true}, /* what is no UTF-8 is data too */
};

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(match_cases); i++) {
        struct err err = {0};
        struct regex *regex = regex_create(match_cases[i].pattern, &err);

        if (!regex)
            fail_msg("%s: %s", match_cases[i].pattern, err.text);
        if (regex_match(regex, match_cases[i].text) !=
            (match_cases[i].matches ? REGEX_MATCH : REGEX_NO_MATCH))
            fail_msg("%s against '%s'", match_cases[i].pattern, match_cases[i].text);
        regex_destroy(&regex);
        assert_null(regex);
    }
}

static const struct {
    const char *pattern, *error;
} refused_cases[] = {
    {"(a)\\1", "invalid escape sequence: `\\1`"},
    {"\\k<x>", "invalid escape sequence: `\\k`"},
    {"\\g1", "invalid escape sequence: `\\g`"},
    {"\\Z", "invalid escape sequence: `\\Z`"},
    {"\\R", "invalid escape sequence: `\\R`"},
    {"\\C", "invalid escape sequence: `\\C`"},
    {"[\\b]", "invalid escape sequence: `\\b`"},
    {"(?=a)", "invalid or unsupported Perl syntax: `(?=`"},
    {"(?!a)", "invalid or unsupported Perl syntax: `(?!`"},
    {"(?<=a)", "invalid or unsupported Perl syntax: `(?<`"},
    {"(?<!a)", "invalid or unsupported Perl syntax: `(?<`"},
    {"(?>a)", "invalid or unsupported Perl syntax: `(?>`"},
    {"(?R)", "invalid or unsupported Perl syntax: `(?R`"},
    {"(?1)", "invalid or unsupported Perl syntax: `(?1`"},
    {"(?P=x)", "invalid or unsupported Perl syntax: `(?P`"},
    {"(?C)", "invalid or unsupported Perl syntax: `(?C`"},
    {"(?|a|b)", "invalid or unsupported Perl syntax: `(?|`"},
    {"(?x) a", "invalid or unsupported Perl syntax: `(?x`"},
    {"(*UTF8)a", "missing argument to repetition operator: `*`"},
    {"a*+", "invalid nested repetition operator: `+`"},
    {"a**", "invalid nested repetition operator: `*`"},
    {"a{2}{3}", "invalid nested repetition operator: `{3}`"},
    {"a{1001}", "invalid repeat count: `{1001}`"},
    {"a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`"},
    {"\\xg", "invalid escape sequence: `\\xg`"},
    {"\\x4", "invalid escape sequence: `\\x4`"},
    {"\\x{}", "invalid escape sequence: `\\x{`"},
    {"\\x{110000}", "invalid escape sequence: `\\x{110000}`"},
    {"\\p{Foo}", "invalid character class range: `\\p{Foo}`"},
    {"\\p{Lu", "invalid character class range: `\\p{`"},
    {"\\p", "invalid character class range: `\\p`"},
    {"[b-a]", "invalid character class range: `[b-a]`"},
    {"[[:foo:]]", "invalid character class range: `[[:foo:]]`"},
    {"*a", "missing argument to repetition operator: `*a`"},
    {"a{2,1}", "invalid repeat count: `a{2,1}`"},
    {"[a", "missing closing ]: `[a`"},
    {"a\\", "trailing backslash at end of expression: `\\`"},
    {"(a", "missing closing ): `(a`"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused_cases); i++) {
        struct err err = {0};
        struct regex *regex = regex_create(refused_cases[i].pattern, &err);

        if (regex || strcmp(err.text, refused_cases[i].error) != 0)
            fail_msg("%s: %s", refused_cases[i].pattern, regex ? "taken" : err.text);
        assert_int_equal(err.kind, ERR_INVALID);
    }
}

/* Catastrophic for a backtracking matcher: given up quickly, and told each time. */
static void test_match_limit(void **state)
{
    struct err err;
    struct regex *regex = regex_create("(a|aa)*(a|aa)*(a|aa)*b", &err);
    uint64_t start = clock_stage_ns();

    (void)state;
    assert_non_null(regex);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            regex_match(regex, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaacb"),
            REGEX_GAVE_UP);
    assert_int_equal(regex_match(regex, "ab"), REGEX_MATCH);
    assert_true(clock_stage_ns() - start < UINT64_C(2000000000));
    regex_destroy(&regex);
}

static const struct {
    const char *pattern, *text, *template, *want; /* NULL = no match */
} expand_cases[] = {
    {"(.*)", "abc", "$1", "abc"},
    {"(.)(.*)", "abc", "${2}x-$1", "bcx-a"},
    {"(.*)", "abc", "$1x", ""}, /* the group "1x" */
    {"(?P<name>.)(?P<rest>.*)", "abc", "$rest/${name}/$0", "bc/a/abc"},
    {"a(b)?c", "ac", "[$1]", "[]"},
    {"abc", "abc", "$$1 $ $", "$1 $ $"},
    {"(.*)", "abc", "${1", "${1"},
    {"(.*)", "abc", "$7", ""},
    {"x", "abc", "$1", NULL},
};

static void test_expand(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expand_cases); i++) {
        struct err err;
        struct regex *regex = regex_create(expand_cases[i].pattern, &err);
        struct buf got;
        enum regex_outcome outcome;

        assert_non_null(regex);
        buf_init(&got, 1024);
        outcome = regex_expand(regex, expand_cases[i].text, expand_cases[i].template, &got);
        assert_int_equal(outcome, expand_cases[i].want ? REGEX_MATCH : REGEX_NO_MATCH);
        assert_string_equal(got.data, expand_cases[i].want ? expand_cases[i].want : "");
        buf_deinit(&got);
        regex_destroy(&regex);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_match_limit),
        cmocka_unit_test(test_expand),
    };

    return cmocka_run_group_tests_name("regex", tests, NULL, NULL);
}
