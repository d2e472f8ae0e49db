/*
 * Templates: what newer Prometheus has than the one whose answers are in template_go_data.c, the
 * limits, and what other texts may rely on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"
#include "pgvigil/rules/template_engine.h"

static const struct label pairs[] = {{"node", "pg1"}, {"pool", "a\"b"}};
static const struct label external_pairs[] = {{"region", "eu"}};
static const struct labels labels = {ARRAY_LEN(pairs), pairs};
static const struct labels external = {ARRAY_LEN(external_pairs), external_pairs};

static const char *expand_with(struct arena *arena, const char *text,
                               const struct template_data *data)
{
    struct err err = {0};
    struct template *t = template_parse("test", text, &err);
    if (t == NULL)
        return arena_strdup(arena, err.text);
    const char *out = template_expand(t, data, arena);
    template_destroy(&t);
    return out;
}

static struct template_data some_data(void)
{
    return (struct template_data){.labels = &labels,
                                  .external_labels = &external,
                                  .external_url = "http://host:9432/a/b?c#d",
                                  .value = 2.5,
                                  .t = 1700000000250};
}

static const struct {
    const char *text;
    const char *wanted;
} expansions[] = {
    {"", ""},
    {"plain } }} {", "plain } }} {"},
    {"{{ $labels.node }}/{{ .Value }}/{{ $externalLabels.region }}", "pg1/2.5/eu"},
    /* since Prometheus 3.6 and 3.8; a fraction loses what nanoseconds in a double lose */
    {"{{ now }} {{ now | toTime }}", "1.70000000025e+09 2023-11-14 22:13:20.249 +0000 UTC"},
    {"{{ toDuration 3661.5 }} {{ toDuration -0.0015 }} {{ toDuration 0 }} {{ toDuration 90 }}",
     "1h1m1.5s -1.5ms 0s 1m30s"},
    {"{{ (toDuration 90).Minutes }} {{ (toDuration 5400).Hours }} {{ (toDuration 1.5).Seconds }} "
     "{{ (toDuration 1.5).Milliseconds }} {{ toDuration 0.0000015 }} {{ toDuration 2e-9 }}",
     "1.5 1.5 1.5 1500 1.5\302\265s 2ns"},
    {"{{ toDuration 3600 | humanizeDuration }} {{ printf \"%T\" (toDuration 1) }}",
     "1h 0m 0s *time.Duration"},
    {"{{ (now | toTime).Add (toDuration 60) }}", "2023-11-14 22:14:20.249 +0000 UTC"},
    {"{{ urlQueryEscape \"a b&c/\\u00e9\" }}", "a+b%26c%2F%C3%A9"},
    {"{{ externalURL }} {{ pathPrefix }} {{ $externalURL }}",
     "http://host:9432/a/b?c#d /a/b http://host:9432/a/b?c#d"},
    /* since Go 1.22 to 1.24 */
    {"{{ range 3 }}{{ . }}{{ end }}{{ range $i := 2 }}{{ $i }}{{ else }}x{{ end }}", "01201"},
    {"{{ range 0 }}x{{ else }}none{{ end }}{{ range -1 }}x{{ end }}", "none"},
    {"{{ with $labels.x }}1{{ else with $labels.node }}{{ . }}{{ else }}2{{ end }}", "pg1"},
    {"{{ $k := 0 }}{{ $v := \"\" }}{{ range $k, $v = $externalLabels }}{{ end }}{{ $k }}={{ $v }}",
     "region=eu"},
    /* bytes that are no characters */
    {"{{ \"a\\x00b\" }}", "a?b"},
    {"{{ printf \"%q %x\" \"\\xff\" \"\\xff\" }}", "\"\\xff\" ff"},
    {"\303{{ toUpper \"\\xc3\" }}", "\303\357\277\275"},
};

static void expands(void **state)
{
    (void)state;
    struct arena *arena = arena_create(65536, ARENA_NO_LIMIT);
    struct template_data data = some_data();
    for (size_t i = 0; i < ARRAY_LEN(expansions); i++) {
        const char *got = expand_with(arena, expansions[i].text, &data);
        if (!str_eq(got, expansions[i].wanted))
            fail_msg("%s\nwanted %s\ngot    %s", expansions[i].text, expansions[i].wanted, got);
    }
    arena_destroy(&arena);
}

/* Each ends with an error that names its limit, and soon. */
static const struct {
    const char *text;
    const char *wanted;
} limits[] = {
    {"{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" }}",
     "exceeded maximum template depth (100)"},
    {"{{ define \"a\" }}{{ template \"b\" }}{{ end }}{{ define \"b\" }}"
     "{{if 1}}{{if 1}}{{if 1}}{{if 1}}{{if 1}}{{if 1}}{{if 1}}{{if 1}}{{ template \"a\" }}"
     "{{end}}{{end}}{{end}}{{end}}{{end}}{{end}}{{end}}{{end}}{{ end }}{{ template \"a\" }}",
     "nested more than 400 deep"},
    {"{{ range 10000 }}{{ range 10000 }}{{ end }}{{ end }}", "more than 200000 steps"},
    {"{{ range 10000 }}{{ $x := match \"a\" \"b\" }}{{ end }}", "more than 200000 steps"},
    {"{{ range 10000 }}{{ $x := query \"q\" }}{{ end }}", "more than 200000 steps"},
    {"{{ range 10001 }}{{ end }}", "range over more than 10000 items"},
    {"{{ range 10000 }}{{ `0123456789` }}{{ end }}", "result is longer than 65536 bytes"},
    {"{{ printf \"%100000d\" 1 }}", "text is longer than 65536 bytes"},
    {"{{ printf \"%060000d%060000d\" 1 1 }}", "text is longer than 65536 bytes"},
    {"{{ range 1000 }}{{ $x := printf \"%60000d\" 1 }}{{ end }}",
     "values take more than 4194304 bytes"},
    {"{{ $x := args 1 }}{{ range 100 }}{{ $x = args $x $x }}{{ end }}{{ $x }}",
     "result is longer than 65536 bytes"},
    {"{{ $x := \"aaaaaaaa\" }}{{ range 20 }}{{ $x = print $x $x }}{{ end }}",
     "text is longer than 65536 bytes"},
    {"{{ match \"(a|aa)+[bc]\" (printf \"%01000d\" 0 | reReplaceAll \"0\" \"a\") }}",
     "matching takes too many steps"},
    {"{{ printf \"%060000d\" 0 | reReplaceAll \"0\" \"a\" }}", "more than 200000 steps"},
    {"{{ printf \"%03000d\" 0 | reReplaceAll \"0\" \"a\" }}", "matching takes too many steps"},
    {"{{ print 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 }}",
     "more than 32 arguments"},
    {"{{ query \"q\" | value }}", "got template.queryResult"},
};

static bool no_samples(const char *expr, struct arena *arena, struct promql_value *out,
                       struct err *err, void *arg)
{
    (void)expr;
    (void)arena;
    (void)err;
    (void)arg;
    *out = (struct promql_value){.type = PROMQL_VECTOR};
    return true;
}

static void limits_end_it(void **state)
{
    (void)state;
    struct arena *arena = arena_create(65536, ARENA_NO_LIMIT);
    struct template_data data = some_data();
    data.query = no_samples;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        uint64_t before = clock_thread_cpu_ns();
        const char *got = expand_with(arena, limits[i].text, &data);
        uint64_t took = clock_thread_cpu_ns() - before;
        if (strstr(got, limits[i].wanted) == NULL)
            fail_msg("%s\nwanted %s\ngot    %.500s", limits[i].text, limits[i].wanted, got);
        /* milliseconds; a loop without end would take for ever, sanitizers take their time */
        if (took > UINT64_C(2000000000))
            fail_msg("%s took %llu ns", limits[i].text, (unsigned long long)took);
        arena_reset(arena);
    }
    arena_destroy(&arena);
}

static void nesting_and_length_have_limits(void **state)
{
    (void)state;
    struct err err = {0};
    struct buf text;
    buf_init(&text, (size_t)4 * TEMPLATE_MAX);
    for (int i = 0; i < 100; i++)
        buf_add_str(&text, "{{if 1}}");
    assert_null(template_parse("n", text.data, &err));
    assert_string_equal(err.text, "template: n:1: nested more than 64 deep");
    buf_clear(&text);
    buf_add_str(&text, "{{");
    for (int i = 0; i < 1000; i++)
        buf_add_char(&text, '(');
    assert_null(template_parse("n", text.data, &err));
    assert_string_equal(err.text, "template: n:1: nested more than 64 deep");
    buf_clear(&text);
    for (int i = 0; i <= TEMPLATE_MAX; i++)
        buf_add_char(&text, 'a');
    assert_null(template_parse("n", text.data, &err));
    assert_string_equal(err.text, "template: n:1: longer than 16384 bytes");
    buf_clear(&text);
    for (int i = 0; i < 300; i++)
        buf_printf(&text, "{{ $v%d := 1 }}", i);
    assert_null(template_parse("n", text.data, &err));
    assert_string_equal(err.text, "template: n:1: more than 256 variables");
    buf_deinit(&text);
}

static void queries_fail_with_a_text(void **state)
{
    (void)state;
    struct arena *arena = arena_create(65536, ARENA_NO_LIMIT);
    struct template_data data = some_data();
    assert_string_equal(expand_with(arena, "{{ query \"up\" }}", &data),
                        "<error expanding template: error executing template test: template: "
                        "test:1:115: executing \"test\" at <query \"up\">: error calling query: "
                        "no queries here>");
    arena_destroy(&arena);
}

/* ---- the engine, bound to something else than an alert ---- */

static bool firing(struct tpl_call *call, const struct tpl_value *args, size_t n,
                   struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = args[0];
    out->n = 1;
    return true;
}

static void serves_other_bindings(void **state)
{
    (void)state;
    static const struct tpl_function list_members[] = {{.name = "Firing", .run = firing}};
    static const struct tpl_type type_alerts = {.name = "template.Alerts",
                                                .kind = TPL_LIST,
                                                .elem = &tpl_type_map,
                                                .members = list_members,
                                                .member_count = 1};
    struct tpl_pair one[] = {{"Status", tpl_string("firing")}};
    struct tpl_value alerts[] = {{.type = &tpl_type_map, .pairs = one, .n = 1}, tpl_int(7)};
    struct tpl_pair top[] = {
        {"Alerts", {.type = &type_alerts, .items = alerts, .n = ARRAY_LEN(alerts)}},
        {"CommonLabels", tpl_labels(&labels)},
    };
    struct tpl_value root = {.type = &tpl_type_map, .pairs = top, .n = ARRAY_LEN(top)};
    struct arena *arena = arena_create(65536, ARENA_NO_LIMIT);
    struct err err = {0};
    const char *out;
    struct tpl_tree *tree =
        tpl_parse("n",
                  "{{ len .Alerts }}{{ range .Alerts.Firing }}[{{ .Status }}]{{ end }}"
                  "{{ .CommonLabels.node }}{{ define \"x\" }}{{ .Alerts.Firing 1 }}{{ end }}"
                  "{{ if .GroupLabels }}{{ template \"x\" . }}{{ end }}",
                  NULL, 0, &err);
    assert_non_null(tree);
    assert_true(tpl_execute(tree, &root, NULL, arena, &out));
    assert_string_equal(out, "2[firing]pg1");
    tpl_destroy(&tree);
    tree = tpl_parse("n", "{{ .Alerts.Firing 1 }}", NULL, 0, &err);
    assert_non_null(tree);
    assert_false(tpl_execute(tree, &root, NULL, arena, &out));
    assert_string_equal(out, "template: n:1:10: executing \"n\" at <.Alerts.Firing>: wrong number "
                             "of args for Firing: want 0 got 1");
    tpl_destroy(&tree);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands),
        cmocka_unit_test(limits_end_it),
        cmocka_unit_test(nesting_and_length_have_limits),
        cmocka_unit_test(queries_fail_with_a_text),
        cmocka_unit_test(serves_other_bindings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
