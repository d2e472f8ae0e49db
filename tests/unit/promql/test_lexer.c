/* Tokens and their texts in errors; literals as Go reads them. */
#include "../../../agent/promql/promql_private.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    const char *text, *tokens; /* separated by blanks; a lexer error ends the list as !text */
} token_cases[] = {
    {"", "end of input"},
    {"# nothing here\n ", "end of input"},
    {"foo", "identifier \"foo\" end of input"},
    {"a:b", "metric identifier \"a:b\" end of input"},
    {"1 + -2.5e3", "number \"1\" <op:+> <op:-> number \"2.5e3\" end of input"},
    {"5m 1h30m 100ms", "duration \"5m\" duration \"1h30m\" duration \"100ms\" end of input"},
    {"0x1F 1_000 .5 2. Inf nan",
     "number \"0x1F\" number \"1_000\" number \".5\" number \"2.\" number \"Inf\" number \"nan\" "
     "end of input"},
    {"sum BY unless ATAN2", "<aggr:sum> <BY> <op:unless> <op:atan2> end of input"},
    {"foo{sum='x',a=~\"y\"}", "identifier \"foo\" \"{\" identifier \"sum\" \"=\" string \"'x'\" "
                              "\",\" identifier \"a\" <op:=~> "
                              "string \"\\\"y\\\"\" \"}\" end of input"},
    {"x[5m:1m] @ 3",
     "identifier \"x\" \"[\" duration \"5m\" \":\" duration \"1m\" \"]\" \"@\" number \"3\" end of "
     "input"},
    {"a>=b!=c<d", "identifier \"a\" <op:>=> identifier \"b\" <op:!=> identifier \"c\" <op:<> "
                  "identifier \"d\" end of input"},
    {"`a\\n`", "string \"`a\\\\n`\" end of input"},
    {"a # comment\n+ b", "identifier \"a\" <op:+> identifier \"b\" end of input"},
    {"\"abc", "!unterminated quoted string"},
    {"\"abc\ndef\"", "!unterminated quoted string"},
    {"`abc", "!unterminated raw string"},
    {"\"abc\\", "!escape sequence not terminated"},
    {"(", "\"(\" !unclosed left parenthesis"},
    {")", "!unexpected right parenthesis ')'"},
    {"[", "\"[\" !unclosed left bracket"},
    {"]", "!unexpected right bracket ']'"},
    {"x[5m:1m:1m]",
     "identifier \"x\" \"[\" duration \"5m\" \":\" duration \"1m\" !unexpected colon "
     "':'"},
    {"{", "\"{\" !unexpected end of input inside braces"},
    {"{{", "\"{\" !unexpected left brace '{'"},
    {"{1", "\"{\" !unexpected character inside braces: '1'"},
    {"{a!b", "\"{\" identifier \"a\" !unexpected character after '!' inside braces: 'b'"},
    {"a ! b", "identifier \"a\" !unexpected character after '!': ' '"},
    {"a =~ b", "identifier \"a\" !unexpected character after '=': '~'"},
    {"a $", "identifier \"a\" !unexpected character: '$'"},
    {"a \xc3\xa4", "identifier \"a\" !unexpected character: '\xc3\xa4'"},
    {"a \xff", "identifier \"a\" !unexpected character: '\\xff'"},
    {".", "!unexpected character: '.'"},
    {"1h1", "!bad number or duration syntax: \"1h1\""},
    {"5m5y", "!bad number or duration syntax: \"5m5y\""},
    {"0x", "!bad number or duration syntax: \"0x\""},
    {"1__0", "!bad number or duration syntax: \"1__0\""},
    {"1e", "!bad number or duration syntax: \"1e\""},
};

static void test_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(token_cases); i++) {
        const char *text = token_cases[i].text;
        struct lexer lexer;
        struct token token = {.type = TOK_NUMBER};
        struct buf got;
        char one[128];

        buf_init(&got, 4096);
        lexer_init(&lexer, text);
        while (token.type != TOK_EOF && token.type != TOK_ERROR) {
            lexer_next(&lexer, &token);
            token_describe(text, &token, one, sizeof(one));
            buf_printf(&got, "%s%s", got.len > 0 ? " " : "", token.type == TOK_ERROR ? "!" : one);
        }
        if (token.type == TOK_ERROR)
            buf_add_str(&got, lexer.error);
        assert_string_equal(got.data, token_cases[i].tokens);
        buf_deinit(&got);
    }
}

static const struct {
    const char *text;
    bool ok;
    double value;
} number_cases[] = {
    {"0", true, 0},      {"42", true, 42},      {"010", true, 8},      {"08", true, 8},
    {"0x1f", true, 31},  {"0XFF", true, 255},   {"1e3", true, 1000},   {"1E-2", true, 0.01},
    {".5", true, 0.5},   {"2.", true, 2},       {"010.5", true, 10.5}, {"1_000", true, 1000},
    {"0x_1F", true, 31}, {"1_0.5", true, 10.5}, {"", false, 0},        {"_1", false, 0},
    {"1_", false, 0},    {"1_.5", false, 0},    {"1.5.2", false, 0},   {"0x1.8", false, 0},
    {"0b1", false, 0},   {"1e400", false, 0},   {"e5", false, 0},      {"1 ", false, 0},
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(number_cases); i++) {
        double v = -1;
        bool ok = literal_number(number_cases[i].text, strlen(number_cases[i].text), &v);

        if (ok != number_cases[i].ok || (ok && v != number_cases[i].value))
            fail_msg("'%s': %d %g", number_cases[i].text, ok, v);
    }
}

static const struct {
    const char *text, *want; /* NULL = refused */
} string_cases[] = {
    {"\"\"", ""},
    {"'a\"b'", "a\"b"},
    {"\"a\\\"b\"", "a\"b"},
    {"`a\\nb`", "a\\nb"},
    {"\"\\a\\b\\f\\n\\r\\t\\v\\\\\"", "\a\b\f\n\r\t\v\\"},
    {"\"\\x41\\101\\u00e4\\U0001F600\"", "AA\xc3\xa4\xf0\x9f\x98\x80"},
    {"\"\\xff\"", "\xff"},
    {"\"\\q\"", NULL},
    {"\"\\'\"", NULL},
    {"\"\\x4\"", NULL},
    {"\"\\400\"", NULL},
    {"\"\\ud800\"", NULL},
    {"\"\\U00110000\"", NULL},
    {"\"a\\x00b\"", NULL}, /* would be cut */
};

static void test_strings(void **state)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(string_cases); i++) {
        const char *text = string_cases[i].text;
        char why[64] = "";
        const char *got = literal_string(arena, text, strlen(text), why, sizeof(why));

        if (string_cases[i].want && got)
            assert_string_equal(got, string_cases[i].want);
        else if (got || string_cases[i].want || !*why)
            fail_msg("%s: %s %s", text, got ? got : "refused", why);
    }
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_strings),
    };

    return cmocka_run_group_tests_name("lexer", tests, NULL, NULL);
}
