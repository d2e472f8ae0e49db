/* Templates against Go itself: what promtool printed for the same templates and values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

#include "rules/template_go_data.c"

#define NAME     "__alert_A"
#define EXPANDED "<error expanding template: error executing template " NAME ": template: " NAME ":"

static const struct label pairs[] = {
    {"instance", "host.example.com:9100"}, {"job", "api"}, {"sev", "a<b&c\"d"}};
static const struct label external_pairs[] = {{"region", "eu"}, {"zone", "z1"}};
static const struct label of_c[] = {{"__name__", "q"}, {"idx", "1"}, {"job", "c"}};
static const struct label of_b[] = {{"__name__", "q"}, {"idx", "2"}, {"job", "b"}};
static const struct label of_a[] = {{"__name__", "q"}, {"idx", "10"}, {"job", "a"}};
static struct promql_sample samples[] = {{{3, of_c}, -3}, {{3, of_b}, 22}, {{3, of_a}, 11.5}};

static bool query(const char *expr, struct arena *arena, struct promql_value *out, struct err *err,
                  void *arg)
{
    (void)arena;
    (void)arg;
    *out = (struct promql_value){.type = str_eq(expr, "5") ? PROMQL_SCALAR : PROMQL_VECTOR,
                                 .scalar = 5,
                                 .vector = samples,
                                 .n = str_eq(expr, "q") ? ARRAY_LEN(samples) : 0};
    if (strchr(expr, '{') == NULL)
        return true;
    return err_set(err, ERR_INVALID, "1:6: parse error: unexpected end of input inside braces");
}

static void expands_as_go(void **state)
{
    (void)state;
    struct labels labels = {ARRAY_LEN(pairs), pairs};
    struct labels external = {ARRAY_LEN(external_pairs), external_pairs};
    struct arena *arena = arena_create(65536, ARENA_NO_LIMIT);
    for (size_t i = 0; i < ARRAY_LEN(expansions); i++) {
        struct template_data data = {.labels = &labels,
                                     .external_labels = &external,
                                     .external_url = "http://prom.example:9090/path",
                                     .value = expansions[i].value,
                                     .query = query};
        struct err err = {0};
        const char *wanted = expansions[i].wanted;
        struct template *t = template_parse(NAME, expansions[i].text, &err);
        if (t == NULL)
            fail_msg("%s: %s", expansions[i].text, err.text);
        if (*wanted == '!')
            wanted = arena_printf(arena, EXPANDED "%s>", wanted + 1);
        const char *got = template_expand(t, &data, arena);
        if (!str_eq(got, wanted))
            fail_msg("%s\nwanted %s\ngot    %s", expansions[i].text, wanted, got);
        template_destroy(&t);
        arena_reset(arena);
    }
    arena_destroy(&arena);
}

static void loads_as_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
        struct err err = {0};
        struct template *t = template_parse(NAME, loads[i].text, &err);
        const char *got = t != NULL ? "accepted" : err.text + strlen("template: " NAME ":");
        const char *wanted = loads[i].wanted != NULL ? loads[i].wanted : "accepted";
        if (!str_eq(got, wanted))
            fail_msg("%s\nwanted %s\ngot    %s", loads[i].text, wanted, got);
        template_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands_as_go),
        cmocka_unit_test(loads_as_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
