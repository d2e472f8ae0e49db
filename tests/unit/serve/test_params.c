/* Query strings and forms, times and durations: what Prometheus takes, and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/serve/params.h"
#include "pgvigil/base/mem.h"

static const struct {
    const char *text;
    const char *name, *value; /* NULL value: not there */
} good[] = {
    {"query=up", "query", "up"},
    {"a=1&query=up%20%2B+1&b", "query", "up + 1"},
    {"match%5B%5D=a&match[]=b", "match[]", "a"},
    {"a&b", "b", ""},
    {"&&a=1&", "a", "1"},
    {"a=b=c", "a", "b=c"},
    {"", "a", NULL},
    {"A=1", "a", NULL},
    {"=x", "", "x"},
    {"a=%c3%A4", "a", "\xc3\xa4"},
    {"a=1;b=2", "a", "1;b=2"},
};

static void decodes_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct params p;
        struct err err = {0};
        params_init(&p);
        assert_true(params_add(&p, good[i].text, strlen(good[i].text), &err));
        const char *value = params_get(&p, good[i].name);
        if (good[i].value == NULL)
            assert_null(value);
        else
            assert_string_equal(value, good[i].value);
        params_deinit(&p);
    }
}

static void refuses_broken_escapes(void **state)
{
    static const char *const bad[] = {"a=%", "a=%4", "a=%zz", "%0=a", "a=%00", "a=b%2"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct params p;
        struct err err = {0};
        params_init(&p);
        assert_false(params_add(&p, bad[i], strlen(bad[i]), &err));
        assert_int_equal(err.kind, ERR_INVALID);
        params_deinit(&p);
    }
}

static void limits_number_and_length(void **state)
{
    struct params p;
    struct err err = {0};
    char many[2 * PARAMS_MAX + 3];
    char *longest = mem_alloc(PARAMS_BYTES_MAX + 2);
    (void)state;
    for (size_t i = 0; i < sizeof(many); i += 2)
        memcpy(many + i, "a&", i + 2 <= sizeof(many) ? 2 : 1);
    params_init(&p);
    assert_true(params_add(&p, many, 2 * PARAMS_MAX, &err));
    assert_false(params_add(&p, "b", 1, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    params_deinit(&p);
    memset(longest, 'a', PARAMS_BYTES_MAX + 1);
    params_init(&p);
    assert_true(params_add(&p, longest, PARAMS_BYTES_MAX, &err));
    assert_false(params_add(&p, longest, PARAMS_BYTES_MAX + 1, &err));
    params_deinit(&p);
    mem_free(longest);
}

static const struct {
    const char *text;
    bool ok;
    int64_t ms;
} times[] = {
    {"4", true, 4000},
    {"1435781430.781", true, 1435781430781},
    {"1700000000000", true, 1700000000000000},
    {"-1.5", true, -1500},
    {"1e3", true, 1000000},
    {"2015-07-01T20:10:30.781Z", true, 1435781430781},
    {"2015-07-01T22:10:30.781+02:00", true, 1435781430781},
    {"-292273086-05-16T16:47:06Z", true, -PARAM_TIME_MAX},
    {"292277025-08-18T07:12:54.999999999Z", true, PARAM_TIME_MAX},
    {"", false, 0},
    {"NaN", false, 0},
    {"Inf", false, 0},
    {"1e300", false, 0},
    {"now", false, 0},
    {"2015-13-01T00:00:00Z", false, 0},
};

static void reads_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        int64_t ms = 0;
        bool ok = param_time(times[i].text, &ms);
        if (ok != times[i].ok || (ok && ms != times[i].ms))
            fail_msg("'%s': %d %lld", times[i].text, ok, (long long)ms);
    }
}

static const struct {
    const char *text;
    bool ok;
    int64_t ms;
} durations[] = {
    {"15", true, 15000}, {"0.25", true, 250}, {"15s", true, 15000}, {"1h30m", true, 5400000},
    {"0", true, 0},      {"-5", true, -5000}, {"5", true, 5000},    {"1x", false, 0},
    {"", false, 0},      {"NaN", false, 0},   {"1e300", false, 0},  {"m5", false, 0},
};

static void reads_durations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        int64_t ms = 0;
        bool ok = param_duration(durations[i].text, &ms);
        if (ok != durations[i].ok || (ok && ms != durations[i].ms))
            fail_msg("'%s': %d %lld", durations[i].text, ok, (long long)ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_forms),
        cmocka_unit_test(refuses_broken_escapes),
        cmocka_unit_test(limits_number_and_length),
        cmocka_unit_test(reads_times),
        cmocka_unit_test(reads_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
