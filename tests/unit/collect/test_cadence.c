/* The places of nodes within an interval: on the grid, without drift, spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/cadence.h"

static mono_ms at(int64_t ms)
{
    return (mono_ms){.ms = ms};
}

static const struct {
    int64_t place, interval, now, next;
} cases[] = {
    {0, 5000, 1000, 6000},          /* on the grid */
    {0, 5000, 1003, 6000},          /* a little late: no drift */
    {0, 5000, 999, 6000},           /* a little early: not twice for one place */
    {0, 5000, 5800, 11000},         /* early within the slack */
    {1200, 5000, 1000, 2200},       /* the first poll is off the grid */
    {1200, 5000, 2200, 7200},       /* and the second on it */
    {61200, 60000, 1000, 2200},     /* a place beyond the interval wraps */
    {86399999, 5000, 1000, 5999},   /* the largest place */
    {0, 100, 1000, 1100},           /* the slack of a short interval skips no place */
    {0, 100, 1030, 1100},           /* even when the timer is late */
    {1200, 60000, 1000000, 1022200} /* far from its start */
};

static void next_is_on_the_grid(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cadence c = {.base = at(1000), .place = cases[i].place};
        assert_int_equal(cadence_next(&c, cases[i].interval, at(cases[i].now)).ms, cases[i].next);
    }
}

static void one_timer_meets_all_intervals(void **state)
{
    static const int64_t longer[] = {5000, 15000, 60000};
    (void)state;
    struct cadence c = cadence_of("pg7", at(77));
    int64_t tick = 77 + cadence_wait(&c, 5000, at(77));
    assert_in_range(tick, 78, 5077);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal((cadence_next(&c, longer[i], at(tick)).ms - tick) % 5000, 0);
}

static void nodes_are_spread(void **state)
{
    enum { NODES = 200, PARTS = 10 };
    unsigned found[PARTS] = {0};
    (void)state;
    for (int i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        struct cadence c = cadence_of(name, at(0));
        found[(size_t)((cadence_wait(&c, 60000, at(0)) - 1) / (60000 / PARTS))]++;
    }
    for (int i = 0; i < PARTS; i++)
        assert_in_range(found[i], 1, NODES / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_is_on_the_grid),
        cmocka_unit_test(one_timer_meets_all_intervals),
        cmocka_unit_test(nodes_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
