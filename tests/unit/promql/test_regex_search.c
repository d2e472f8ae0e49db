/* Regexes that are looked for in a text: where they match, and what replaces them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/base/str.h"
#include "pgvigil/promql/regex.h"

/* Answers of Go's regexp. */
static const struct {
    const char *pattern, *text, *template;
    bool matches;
    const char *wanted;
} cases[] = {
    {"b", "abc", "x", true, "axc"},
    {"^b", "abc", "x", false, "abc"},
    {"a*", "baaac", "-", true, "-b-c-"},
    {"x*", "abc", "-", true, "-a-b-c-"},
    {"", "h\303\251y", ".", true, ".h.\303\251.y."},
    {"^", "ab\ncd", ">", true, ">ab\ncd"},
    {"(?m)^", "ab\ncd", ">", true, ">ab\n>cd"},
    {"$", "ab", "!", true, "ab!"},
    {"$", "ab\n", "!", true, "ab\n!"},
    {"a.c", "a\nc", "x", false, "a\nc"},
    {"(?s)a.c", "a\nc", "x", true, "x"},
    {"(.*):(.*)", "host:80", "$2-${1}", true, "80-host"},
    {"(?P<n>b)", "abc", "[${n}]$1x$$", true, "a[b]$c"},
    {"(a)(b)?", "aab", "[$1|$2]", true, "[a|][a|b]"},
    {"(?i)HOST", "Host-host", "h", true, "h-h"},
    {"a", "", "x", false, ""},
    {"", "", "x", true, "x"},
    {"b",
     "\xff\xff"
     "b",
     "x", true,
     "\xff\xff"
     "x"},
};

static void finds_and_replaces(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        size_t n = strlen(cases[i].text);
        struct regex *regex = regex_create_search(cases[i].pattern, &err);
        assert_non_null(regex);
        enum regex_outcome wanted = cases[i].matches ? REGEX_MATCH : REGEX_NO_MATCH;
        if (regex_search(regex, cases[i].text, n) != wanted)
            fail_msg("case %zu: '%s' in '%s'", i, cases[i].pattern, cases[i].text);
        buf_clear(&out);
        assert_int_equal(regex_replace_all(regex, cases[i].text, n, cases[i].template, &out),
                         REGEX_MATCH);
        if (!str_eq(out.data, cases[i].wanted))
            fail_msg("case %zu: wanted '%s', got '%s'", i, cases[i].wanted, out.data);
        regex_destroy(&regex);
    }
    buf_deinit(&out);
}

static void tells_what_it_cannot(void **state)
{
    (void)state;
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct err err = {0};
    struct buf out;
    buf_init(&out, 4096);
    assert_null(regex_create_search("(", &err));
    assert_string_equal(err.text, "missing closing ): `(`");
    struct regex *regex = regex_create_search("(a|aa)+[bc]", &err);
    assert_non_null(regex);
    assert_int_equal(regex_search(regex, text, strlen(text)), REGEX_GAVE_UP);
    assert_int_equal(regex_replace_all(regex, text, strlen(text), "x", &out), REGEX_GAVE_UP);
    regex_destroy(&regex);
    /* each match is cheap, but there are too many */
    char many[8192];
    memset(many, 'a', sizeof(many));
    regex = regex_create_search("a", &err);
    assert_non_null(regex);
    buf_clear(&out);
    assert_int_equal(regex_replace_all(regex, many, 1024, "b", &out), REGEX_MATCH);
    assert_int_equal(regex_replace_all(regex, many, sizeof(many), "", &out), REGEX_GAVE_UP);
    regex_destroy(&regex);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_and_replaces),
        cmocka_unit_test(tells_what_it_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
