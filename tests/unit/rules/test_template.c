/* Templates of labels and annotations: the subset, and what is refused at load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

static const struct label pairs[] = {{"node", "pg1"}, {"pool", "a\"b"}};
static const struct label external_pairs[] = {{"region", "eu"}};

static const struct {
    const char *text;
    double value;
    const char *wanted;
} expansions[] = {
    {"plain", 0, "plain"},
    {"{{ $labels.node }} is down", 0, "pg1 is down"},
    {"{{$labels.missing}}|", 0, "|"},
    {"{{ .Labels.node }}/{{ .Value }}", 2.5, "pg1/2.5"},
    {"{{ $externalLabels.region }}", 0, "eu"},
    {"{{ $value }}", 1e21, "1e+21"},
    {"{{ $value | humanize }}", 1234567, "1.235M"},
    {"{{ $value | humanize }}", 0, "0"},
    {"{{ $value | humanize }}", 0.002, "2m"},
    {"{{ $value | humanize1024 }}B", 10737418240.0, "10GiB"},
    {"{{ $value | humanizePercentage }}", 0.1234, "12.34%"},
    {"{{ $value | humanizeDuration }}", 3725.5, "1h 2m 5s"},
    {"{{ $value | humanizeDuration }}", 90061, "1d 1h 1m 1s"},
    {"{{ $value | humanizeDuration }}", 0.5, "500ms"},
    {"{{ $value | humanizeDuration }}", 12.5, "12.5s"},
    {"{{ printf \"%.2f\" $value }} s", 1.005, "1.00 s"},
    {"{{ printf \"v=%v\" $labels.node }}", 3, "v=pg1"},
    {"{{ $labels.node | toUpper }} {{ \"hello world\" | title }}", 0, "PG1 Hello World"},
    {"a {{- $value -}} b", 7, "a7b"},
    {"{{ `raw` }}", 0, "raw"},
};

static void expands(void **state)
{
    (void)state;
    struct labels labels = {ARRAY_LEN(pairs), pairs};
    struct labels external = {ARRAY_LEN(external_pairs), external_pairs};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    for (size_t i = 0; i < ARRAY_LEN(expansions); i++) {
        struct template_data data = {.labels = &labels,
                                     .external_labels = &external,
                                     .external_url = "",
                                     .value = expansions[i].value};
        struct err err = {0};
        struct template *t = template_parse("test", expansions[i].text, &err);
        assert_non_null(t);
        assert_string_equal(template_expand(t, &data, arena), expansions[i].wanted);
        template_destroy(&t);
    }
    arena_destroy(&arena);
}

static const struct {
    const char *text;
    const char *wanted; /* part of the error; NULL: fine */
} checks[] = {
    {"no action", NULL},
    {"{{ $value | humanize }}", NULL},
    {"{{ $value", "unclosed action"},
    {"{{ }}", "unexpected"},
    {"{{ $nothing }}", "undefined variable '$nothing'"},
    {"{{ $labels }}", "needs a name"},
    {"{{ $value | frobnicate }}", "function 'frobnicate' is not supported"},
    {"{{ humanize }}", "wrong number of arguments"},
    {"{{ $value | $value }}", "a pipe must lead to a function"},
    {"{{ \"open }}", "unterminated quoted string"},
    {"{{ if $value }}x{{ end }}", "function 'if' is not supported"},
};

static void checks_at_load(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        struct err err = {0};
        struct template *t = template_parse("test", checks[i].text, &err);
        assert_int_equal(t != NULL, checks[i].wanted == NULL);
        template_destroy(&t);
        if (checks[i].wanted != NULL)
            assert_non_null(strstr(err.text, checks[i].wanted));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands),
        cmocka_unit_test(checks_at_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
