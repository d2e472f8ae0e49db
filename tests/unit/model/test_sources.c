/* test_sources.c: which collector of which target works. */
#include "pgvigil/model/sources.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct now at(int64_t ms)
{
    return (struct now){.mono = {ms}, .wall = {1000000 + ms}};
}

static void states_are_stable_and_sorted(void **state)
{
    struct sources *s = sources_create();
    struct source_state *first = sources_get(s, "pg5", "activity");
    (void)state;
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "pg%d", i);
        sources_get(s, name, "activity");
    }
    assert_ptr_equal(first, sources_get(s, "pg5", "activity"));
    assert_ptr_not_equal(first, sources_get(s, "pg5", "slots"));
    assert_false(wall_is_set(first->last_good));
    sources_destroy(&s);
    assert_null(s);
}

static void good_and_bad_polls(void **state)
{
    struct sources *s = sources_create();
    struct source_state *st = sources_get(s, "pg1", "activity");
    (void)state;
    sources_good(st, at(5), 250);
    assert_int_equal(st->last_good.ms, 1000005);
    assert_int_equal(st->duration_us, 250);
    assert_true(sources_bad(st, "no route to host"));
    assert_false(sources_bad(st, "no route to host")); /* told once */
    assert_true(st->failing);
    assert_string_equal(st->error, "no route to host");
    sources_good(st, at(9), 200);
    assert_false(st->failing);
    assert_string_equal(st->error, "");
    assert_true(sources_bad(st, "again"));
    assert_int_equal(st->polls_total, 5);
    assert_int_equal(st->failures_total, 3);
    sources_destroy(&s);
}

static void refusals_are_told_by_target(void **state)
{
    struct sources *s = sources_create();
    struct source_state *activity = sources_get(s, "pg1", "activity");
    struct source_state *slots = sources_get(s, "pg1", "slots");
    struct source_state *other = sources_get(s, "pg10", "slots");
    (void)state;
    activity->configured = slots->configured = other->configured = true;
    assert_int_equal(sources_refusal(s, "pg1"), REFUSAL_NONE);
    assert_int_equal(sources_refusal(s, "pg"), REFUSAL_NONE);
    sources_bad(slots, "permission denied");
    sources_refused(slots, REFUSAL_GRANT);
    assert_int_equal(sources_refusal(s, "pg1"), REFUSAL_GRANT);
    assert_int_equal(sources_refusal(s, "pg10"), REFUSAL_NONE);
    sources_bad(activity, "password authentication failed");
    sources_refused(activity, REFUSAL_LOGIN);
    assert_int_equal(sources_refusal(s, "pg1"), REFUSAL_LOGIN);
    sources_bad(activity, "connection refused"); /* another reason takes its place */
    assert_int_equal(sources_refusal(s, "pg1"), REFUSAL_GRANT);
    sources_good(slots, at(5), 100);
    assert_int_equal(sources_refusal(s, "pg1"), REFUSAL_NONE);
    sources_bad(other, "permission denied");
    sources_refused(other, REFUSAL_GRANT);
    other->configured = false;
    assert_int_equal(sources_refusal(s, "pg10"), REFUSAL_NONE);
    sources_destroy(&s);
}

static void late_ones_fail(void **state)
{
    struct sources *s = sources_create();
    struct source_state *st = sources_get(s, "pg1", "activity");
    struct source_state *never = sources_get(s, "pg2", "activity");
    struct source_state *idle = sources_get(s, "pg3", "activity");
    (void)state;
    st->configured = never->configured = true;
    st->interval_ms = never->interval_ms = idle->interval_ms = 1000;
    sources_good(st, at(1000), 1);
    sources_check_late(s, (mono_ms){4000});
    assert_false(st->failing);
    sources_check_late(s, (mono_ms){4001});
    assert_true(st->failing);
    assert_true(st->error[0] != '\0');
    assert_false(never->failing); /* counted from when it was seen first */
    sources_check_late(s, (mono_ms){7001});
    assert_true(never->failing);
    assert_false(idle->failing);
    sources_good(st, at(7002), 1);
    assert_false(st->failing);
    sources_destroy(&s);
}

static void metrics_lead_to_sources(void **state)
{
    static const struct {
        const char *metric, *label, *value;
        bool failing;
    } cases[] = {
        {"db_connections", "node", "pg1", true},
        {"db_connections", "node", "pg2", false},
        {"db_connections", "replica", "pg1", true},
        {"db_connections", "node", "unknown", false},
        {"db_connections", "cluster", "pg1", false},
        {"db_slot_lost", "node", "pg1", false}, /* another collector */
        {"db_xid_age", "node", "pg1", true},    /* has not answered yet: shows nothing either way */
        {"db_connection_pool_size", "pool", "app", true},
        {"no_such_metric", "node", "pg1", false},
    };
    struct sources *s = sources_create();
    (void)state;
    struct source_state *failing[] = {sources_get(s, "pg1", "activity"),
                                      sources_get(s, "app", "pools")};
    for (size_t i = 0; i < ARRAY_LEN(failing); i++) {
        failing[i]->configured = true;
        sources_bad(failing[i], "x");
    }
    sources_get(s, "pg1", "database")->configured = true;
    struct source_state *good[] = {sources_get(s, "pg1", "slots"),
                                   sources_get(s, "pg2", "activity")};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        good[i]->configured = true;
        sources_good(good[i], at(1000), 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label pair = {cases[i].label, cases[i].value};
        struct labels ls = {.v = &pair, .n = 1};
        if (sources_metric_failing(s, cases[i].metric, &ls) != cases[i].failing)
            fail_msg("case %zu", i);
    }
    failing[0]->configured = false; /* nobody expects it any more */
    struct label pair = {"node", "pg1"};
    struct labels ls = {.v = &pair, .n = 1};
    assert_false(sources_metric_failing(s, "db_connections", &ls));
    sources_destroy(&s);
}

static void collect_names(const struct source_state *st, void *arg)
{
    char *out = arg;
    size_t n = strlen(out);
    snprintf(out + n, 200 - n, "%s/%s ", st->target, st->collector);
}

static void removing_a_target(void **state)
{
    struct sources *s = sources_create();
    char names[200] = "";
    (void)state;
    sources_get(s, "pg2", "slots");
    sources_get(s, "pg1", "slots");
    sources_get(s, "pg2", "activity");
    sources_get(s, "pg3", "activity");
    sources_each(s, collect_names, names);
    assert_string_equal(names, "pg1/slots pg2/activity pg2/slots pg3/activity ");
    sources_remove_target(s, "pg2");
    names[0] = '\0';
    sources_each(s, collect_names, names);
    assert_string_equal(names, "pg1/slots pg3/activity ");
    sources_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_stable_and_sorted), cmocka_unit_test(good_and_bad_polls),
        cmocka_unit_test(refusals_are_told_by_target),  cmocka_unit_test(late_ones_fail),
        cmocka_unit_test(metrics_lead_to_sources),      cmocka_unit_test(removing_a_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
