/* Tests of clock.c: the seam, the calendar, RFC 3339. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgvigil/base/clock.h"

static struct now fake_read(void *arg)
{
    return *(const struct now *)arg;
}

/* The seam: a day passes in no time, both clocks apart, and the real ones come back. */
static void test_fake_clock(void **state)
{
    struct now fake = {.mono = {1000}, .wall = {INT64_C(1770000000000)}};
    struct now real = clock_read(), got;
    uint64_t began_ns = clock_stage_ns();

    (void)state;
    clock_set_source(fake_read, &fake);
    got = clock_read();
    assert_int_equal(got.mono.ms, 1000);
    assert_int_equal(got.wall.ms, INT64_C(1770000000000));
    fake.mono = mono_add(fake.mono, 86400000);
    fake.wall = wall_add(fake.wall, -3600000); /* somebody sets the clock back */
    assert_int_equal(mono_diff(clock_read().mono, got.mono), 86400000);
    assert_int_equal(wall_diff(clock_read().wall, got.wall), -3600000);
    assert_true(clock_stage_ns() - began_ns < UINT64_C(60000000000));
    clock_set_source(NULL, NULL);
    got = clock_read();
    assert_false(mono_before(got.mono, real.mono));
    assert_true(mono_diff(got.mono, real.mono) < 60000);
    assert_true(wall_diff(got.wall, real.wall) < 60000);
}

static void test_real_clocks(void **state)
{
    struct timespec boot, real;
    struct now now = clock_read();
    uint64_t cpu = clock_thread_cpu_ns(), spin = 0;

    (void)state;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &real);
    assert_true(llabs((long long)boot.tv_sec * 1000 - now.mono.ms) < 60000);
    assert_true(llabs((long long)real.tv_sec * 1000 - now.wall.ms) < 60000);
    while (clock_thread_cpu_ns() == cpu && spin < UINT64_C(100000000))
        spin++;
    assert_true(clock_thread_cpu_ns() > cpu);
}

static void test_unset(void **state)
{
    (void)state;
    assert_false(mono_is_set(MONO_UNSET));
    assert_true(mono_is_set((mono_ms){0}));
    assert_true(mono_is_set(MONO_NEVER));
    assert_false(wall_is_set(WALL_UNSET));
    assert_true(mono_before((mono_ms){5}, MONO_NEVER));
}

static const struct {
    int64_t ms;
    const char *text;
} format_cases[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {INT64_C(1770091506789), "2026-02-03T04:05:06.789Z"},
    {INT64_C(951782399999), "2000-02-28T23:59:59.999Z"},
    {INT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
    {INT64_C(4107542400000), "2100-03-01T00:00:00.000Z"},
    {INT64_C(4107542399000), "2100-02-28T23:59:59.000Z"},
    {-1, "1969-12-31T23:59:59.999Z"},
    {INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z"},
    {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
};

static void test_format(void **state)
{
    char out[CLOCK_RFC3339_MAX];
    wall_ms back;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(format_cases); i++) {
        wall_ms t = {format_cases[i].ms};

        assert_string_equal(clock_format_rfc3339(t, out), format_cases[i].text);
        assert_true(clock_parse_rfc3339(out, &back));
        assert_int_equal(back.ms, t.ms);
    }
    /* The ends of the type stay inside the buffer. */
    clock_format_rfc3339((wall_ms){INT64_MAX}, out);
    assert_string_equal(out, "292278994-08-17T07:12:55.807Z");
    clock_format_rfc3339((wall_ms){INT64_MIN}, out);
    assert_string_equal(out, "-292275055-05-16T16:47:04.192Z");
}

#define REFUSED INT64_C(-777)

static const struct {
    const char *s;
    int64_t ms;
} parse_cases[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"2026-02-03T04:05:06Z", INT64_C(1770091506000)},
    {"2026-02-03t04:05:06z", INT64_C(1770091506000)},
    {"2026-02-03T04:05:06.7Z", INT64_C(1770091506700)},
    {"2026-02-03T04:05:06.789499999Z", INT64_C(1770091506789)},
    {"2026-02-03T04:05:06.7895Z", INT64_C(1770091506790)},
    {"2026-02-03T04:05:06.9999Z", INT64_C(1770091507000)},
    {"2026-02-03T05:35:06.789+01:30", INT64_C(1770091506789)},
    {"2026-02-02T20:05:06.789-08:00", INT64_C(1770091506789)},
    {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
    {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
    {"2026-02-29T00:00:00Z", REFUSED},
    {"2026-13-01T00:00:00Z", REFUSED},
    {"2026-00-01T00:00:00Z", REFUSED},
    {"2026-01-00T00:00:00Z", REFUSED},
    {"2026-01-32T00:00:00Z", REFUSED},
    {"2026-01-01T24:00:00Z", REFUSED},
    {"2026-01-01T00:60:00Z", REFUSED},
    {"2026-01-01T00:00:61Z", REFUSED},
    {"2026-01-01T00:00:00", REFUSED},
    {"2026-01-01T00:00:00.Z", REFUSED},
    {"2026-01-01T00:00:00.1234567890Z", REFUSED},
    {"2026-01-01T00:00:00+0100", REFUSED},
    {"2026-01-01T00:00:00+24:00", REFUSED},
    {"2026-01-01 00:00:00Z", REFUSED},
    {"2026-01-01T00:00:00Zx", REFUSED},
    {" 2026-01-01T00:00:00Z", REFUSED},
    {"26-01-01T00:00:00Z", REFUSED},
    {"2026-1-1T00:00:00Z", REFUSED},
    {"", REFUSED},
    {"now", REFUSED},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parse_cases); i++) {
        wall_ms t = {REFUSED};
        bool is_ok = clock_parse_rfc3339(parse_cases[i].s, &t);

        if (t.ms != parse_cases[i].ms)
            fail_msg("time \"%s\": %lld", parse_cases[i].s, (long long)t.ms);
        assert_int_equal(is_ok, parse_cases[i].ms != REFUSED);
    }
}

/* Against the C library, over 800 years with odd steps, leap days and both sides of 1970. */
static void test_calendar(void **state)
{
    (void)state;
    for (int64_t s = INT64_C(-12622780800); s < INT64_C(13569465600); s += 86400 * 3 + 12345) {
        struct utc_time got = clock_utc(s);
        time_t t = (time_t)s;
        struct tm tm;

        gmtime_r(&t, &tm);
        assert_int_equal(got.year, tm.tm_year + 1900);
        assert_int_equal(got.month, tm.tm_mon + 1);
        assert_int_equal(got.day, tm.tm_mday);
        assert_int_equal(got.hour, tm.tm_hour);
        assert_int_equal(got.minute, tm.tm_min);
        assert_int_equal(got.second, tm.tm_sec);
        assert_int_equal(got.weekday, tm.tm_wday);
        assert_int_equal(got.yearday, tm.tm_yday + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fake_clock), cmocka_unit_test(test_real_clocks),
        cmocka_unit_test(test_unset),      cmocka_unit_test(test_format),
        cmocka_unit_test(test_parse),      cmocka_unit_test(test_calendar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
