/* Tests of str.c: what is taken, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "pgvigil/base/str.h"

#define REFUSED INT64_C(-77)

static const struct {
    const char *s;
    int64_t ms;
} duration_cases[] = {
    {"0", 0},
    {"0s", 0},
    {"5s", 5000},
    {"1h30m", 5400000},
    {"100ms", 100},
    {"1m1ms", 60001},
    {"1s500ms", 1500},
    {"1d", 86400000},
    {"2w", 1209600000},
    {"1y", INT64_C(31536000000)},
    {"1y2w3d4h5m6s7ms", INT64_C(33019506007)},
    {"1000000000000000ms", INT64_C(1000000000000000)},
    {"007s", 7000},
    {"", REFUSED},
    {"5", REFUSED},
    {"-1s", REFUSED},
    {"+1s", REFUSED},
    {" 1s", REFUSED},
    {"1s ", REFUSED},
    {"1 s", REFUSED},
    {"1.5h", REFUSED},
    {"s", REFUSED},
    {"1m1h", REFUSED},
    {"1s1s", REFUSED},
    {"1h0", REFUSED},
    {"00", REFUSED},
    {"1H", REFUSED},
    {"1mo", REFUSED},
    {"1min", REFUSED},
    {"1us", REFUSED},
    {"1000000000y", REFUSED},
    {"31710y", REFUSED},
    {"1000000000000001ms", REFUSED},
    {"99999999999999999999s", REFUSED},
    {"0x10s", REFUSED},
};

static void test_durations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(duration_cases); i++) {
        int64_t ms = REFUSED;
        bool is_ok = str_parse_duration(duration_cases[i].s, &ms);

        if (ms != duration_cases[i].ms)
            fail_msg("duration \"%s\": %lld", duration_cases[i].s, (long long)ms);
        assert_int_equal(is_ok, duration_cases[i].ms != REFUSED);
    }
}

static void test_periods(void **state)
{
    int64_t ms;

    (void)state;
    assert_true(str_parse_period("1mo", &ms));
    assert_int_equal(ms, INT64_C(2592000000));
    assert_true(str_parse_period("1y2mo1d", &ms));
    assert_int_equal(ms, INT64_C(36806400000));
    assert_false(str_parse_period("1d1mo", &ms));
    assert_false(str_parse_period("mo", &ms));
}

static const struct {
    int64_t ms;
    const char *text;
} format_cases[] = {
    {0, "0s"},
    {1, "1ms"},
    {999, "999ms"},
    {1000, "1s"},
    {1500, "1s500ms"},
    {5400000, "1h30m"},
    {86400000, "1d"},
    {90000000, "1d1h"},
    {INT64_C(604800000), "1w"},
    {INT64_C(691200000), "8d"},
    {INT64_C(31536000000), "1y"},
    {INT64_C(31622400000), "366d"},
    {-1500, "-1s500ms"},
};

static void test_format_durations(void **state)
{
    char out[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(format_cases); i++) {
        str_format_duration(format_cases[i].ms, out, sizeof(out));
        assert_string_equal(out, format_cases[i].text);
    }
    str_format_duration(INT64_MIN, out, sizeof(out));
    assert_int_equal(out[0], '-');
    str_format_duration(5400000, out, 4);
    assert_string_equal(out, "1h3");
}

/* Whatever is printed is read back to the same. */
static void test_durations_read_back(void **state)
{
    char out[64];
    int64_t back;

    (void)state;
    for (int64_t ms = 0; ms < INT64_C(100000000000); ms = ms * 3 + 17) {
        assert_true(str_parse_duration(str_format_duration(ms, out, sizeof(out)), &back));
        assert_int_equal(back, ms);
    }
}

static const struct {
    const char *s;
    int64_t bytes;
} size_cases[] = {
    {"0B", 0},
    {"8192B", 8192},
    {"512kB", 512000},
    {"16MB", 16000000},
    {"2GB", INT64_C(2000000000)},
    {"1TB", INT64_C(1000000000000)},
    {"1KiB", 1024},
    {"2GiB", INT64_C(2147483648)},
    {"3TiB", INT64_C(3298534883328)},
    {"", REFUSED},
    {"16", REFUSED},
    {"MB", REFUSED},
    {"-1MB", REFUSED},
    {"16 MB", REFUSED},
    {"16mb", REFUSED},
    {"16KB", REFUSED},
    {"1.5GB", REFUSED},
    {"16MBx", REFUSED},
    {"9223372036854775807TiB", REFUSED},
    {"99999999TiB", REFUSED},
};

static void test_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(size_cases); i++) {
        int64_t bytes = REFUSED;
        bool is_ok = str_parse_size(size_cases[i].s, &bytes);

        if (bytes != size_cases[i].bytes)
            fail_msg("size \"%s\": %lld", size_cases[i].s, (long long)bytes);
        assert_int_equal(is_ok, size_cases[i].bytes != REFUSED);
    }
}

static const struct {
    const char *s;
    double fraction; /* -1 = refused */
} percent_cases[] = {
    {"80%", 0.8}, {"0%", 0},    {"100%", 1},    {"99.9%", 0.99900000000000011},
    {"80", -1},   {"%", -1},    {"", -1},       {"-1%", -1},
    {"101%", -1}, {"1e1%", -1}, {"0x10%", -1},  {"nan%", -1},
    {"80%%", -1}, {" 80%", -1}, {"1.2.3%", -1}, {"100.0001%", -1},
};

static void test_percents(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(percent_cases); i++) {
        double v = -1;
        bool is_ok = str_parse_percent(percent_cases[i].s, &v);

        assert_int_equal(is_ok, percent_cases[i].fraction >= 0);
        assert_true(fabs(v - percent_cases[i].fraction) < 1e-12);
    }
}

static void test_integers(void **state)
{
    static const char *const refused[] = {"",    "-",   "+",   " 1",  "1 ",
                                          "1x",  "0x1", "1.0", "--1", "9223372036854775808",
                                          "101", "-6",  "1e1"};
    int64_t v = 0;

    (void)state;
    assert_true(str_parse_i64("42", -5, 100, &v));
    assert_int_equal(v, 42);
    assert_true(str_parse_i64("-5", -5, 100, &v));
    assert_int_equal(v, -5);
    assert_true(str_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &v));
    assert_true(v == INT64_MIN);
    v = 7;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_false(str_parse_i64(refused[i], -5, 100, &v));
    assert_int_equal(v, 7);
}

static void test_doubles(void **state)
{
    static const char *const refused[] = {"",      " 1",  "1 ",     "x",   "1x",
                                          "1e999", "--1", "nan(1)", "1,5", "-1e999"};
    double v;

    (void)state;
    assert_true(str_parse_double("1.5e3", &v) && v == 1500);
    assert_true(str_parse_double("-.5", &v) && v == -0.5);
    assert_true(str_parse_double("+Inf", &v) && isinf(v) && v > 0);
    assert_true(str_parse_double("-inf", &v) && isinf(v) && v < 0);
    assert_true(str_parse_double("NaN", &v) && isnan(v));
    assert_true(str_parse_double("5e-324", &v) && v > 0);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_false(str_parse_double(refused[i], &v));
}

static const struct {
    const char *pattern, *s;
    bool matches;
} glob_cases[] = {
    {"", "", true},
    {"", "a", false},
    {"*", "", true},
    {"*", "anything", true},
    {"api-*", "api-7", true},
    {"api-*", "api", false},
    {"?", "", false},
    {"a?c", "abc", true},
    {"a?c", "ac", false},
    {"*a*b*c*", "xxaxxbxxcxx", true},
    {"*a*b*c*", "xxaxxcxxbxx", false},
    {"*.log", "a.log.log", true},
    {"**x", "x", true},
    {"[a]", "a", false},
    {"[a]", "[a]", true},
    {"*aaaaaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
};

static void test_globs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(glob_cases); i++)
        if (str_glob(glob_cases[i].pattern, glob_cases[i].s) != glob_cases[i].matches)
            fail_msg("glob \"%s\" on \"%s\"", glob_cases[i].pattern, glob_cases[i].s);
}

static void test_nearest(void **state)
{
    static const char *const keys[] = {"max_lag", "hard_lag", "hold",
                                       "fall",    "lease",    "connection_limit"};
    static const struct {
        const char *s, *nearest;
    } cases[] = {
        {"max_lags", "max_lag"},
        {"maxlag", "max_lag"},
        {"hardlag", "hard_lag"},
        {"leese", "lease"},
        {"conection_limits", "connection_limit"},
        {"conncton_lmits", "connection_limit"},
        {"zebra", NULL},
        {"x", NULL},
        {"", NULL},
        {"hold", "hold"},
        {"a_very_long_key_that_nobody_would_ever_write_into_a_file_of_ours_x", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = str_nearest(cases[i].s, keys, ARRAY_LEN(keys));

        if (cases[i].nearest)
            assert_string_equal(got, cases[i].nearest);
        else
            assert_null(got);
    }
}

static void test_utf8(void **state)
{
    static const struct {
        const char *s;
        size_t n;
    } cases[] = {
        {"a", 1},
        {"\xC3\xA4", 2},
        {"\xE2\x82\xAC", 3},
        {"\xF0\x9F\x90\x98", 4},
        {"\xF4\x8F\xBF\xBF", 4},
        {"\x80", 0},
        {"\xC1\x81", 0},
        {"\xC3", 0},
        {"\xC3(", 0},
        {"\xE0\x80\x80", 0},
        {"\xED\xA0\x80", 0},
        {"\xE2\x82", 0},
        {"\xF0\x80\x80\x80", 0},
        {"\xF4\x90\x80\x80", 0},
        {"\xF5\x80\x80\x80", 0},
        {"\xFF", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(str_utf8_len(cases[i].s), cases[i].n);
}

static void test_small_things(void **state)
{
    char out[4], hex[33], other[33];

    (void)state;
    assert_true(str_starts("pgvigil", "pg"));
    assert_true(str_starts("pg", ""));
    assert_false(str_starts("p", "pg"));
    assert_true(str_copy(out, sizeof(out), "abc"));
    assert_false(str_copy(out, sizeof(out), "abcd"));
    assert_string_equal(out, "abc");
    assert_false(str_copy(out, 0, ""));
    /* The published values of this hash. */
    assert_true(str_hash("", 0, STR_HASH_SEED) == UINT64_C(0xcbf29ce484222325));
    assert_true(str_hash("a", 1, STR_HASH_SEED) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(str_hash("foobar", 6, STR_HASH_SEED) == UINT64_C(0x85944171f73967e8));
    str_random_hex(hex);
    str_random_hex(other);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 32);
    assert_int_equal(strlen(hex), 32);
    assert_string_not_equal(hex, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_periods),
        cmocka_unit_test(test_format_durations),
        cmocka_unit_test(test_durations_read_back),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_percents),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_small_things),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
