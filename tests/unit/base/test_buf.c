/* Tests of buf.c: limits, escaping, numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/mem.h"

static const struct {
    double v;
    const char *text;
} double_cases[] = {
    {0, "0"},
    {-0.0, "-0"},
    {1, "1"},
    {-17, "-17"},
    {0.1, "0.1"},
    {-2.5, "-2.5"},
    {100, "100"},
    {1e6, "1000000"},
    {123456.789, "123456.789"},
    {1.0 / 3, "0.3333333333333333"},
    {2.0 / 3, "0.6666666666666666"},
    {0.1 + 0.2, "0.30000000000000004"},
    {1e-6, "0.000001"},
    {9.5367431640625e-07, "9.5367431640625e-07"},
    {1e-7, "1e-07"},
    {1.5e-9, "1.5e-09"},
    {1e15, "1000000000000000"},
    {123456789012345678.0, "123456789012345680"},
    {9007199254740993.0, "9007199254740992"},
    {999999999999999900000.0, "999999999999999900000"},
    {1e21, "1e+21"},
    {1.25e22, "1.25e+22"},
    {1e100, "1e+100"},
    {1.7976931348623157e308, "1.7976931348623157e+308"},
    {5e-324, "5e-324"},
    {2.2250738585072014e-308, "2.2250738585072014e-308"},
    {1712345678.123, "1712345678.123"},
    {999999.999999999, "999999.999999999"},
    {-0.000001234, "-0.000001234"},
    {0.0000012345, "0.0000012345"},
    {1e-6, "0.000001"},
    {0.30000000000000004, "0.30000000000000004"},
    {99999999999999.5, "99999999999999.5"},
    {INFINITY, "+Inf"},
    {-INFINITY, "-Inf"},
    {NAN, "NaN"},
};

static void test_doubles(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(double_cases); i++) {
        buf_clear(&b);
        buf_add_double(&b, double_cases[i].v);
        assert_string_equal(b.data, double_cases[i].text);
    }
    buf_deinit(&b);
}

/* A cheap generator with a fixed start: the same doubles in every run. */
static uint64_t next_bits(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Would a digit less do? Of plain fractions only: others end with zeros that are no digits. */
static bool is_shortest(const char *text, double v)
{
    char less[40];
    int digits = 0;

    if (!strchr(text, '.') || strchr(text, 'e'))
        return true;
    for (const char *c = text + strspn(text, "-0."); *c; c++)
        digits += *c != '.';
    snprintf(less, sizeof(less), "%.*e", digits - 2, v);
    return digits < 2 || strtod(less, NULL) != v;
}

static void test_doubles_read_back(void **state)
{
    uint64_t x = UINT64_C(88172645463325252);
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = next_bits(&x);
        double v, back;

        memcpy(&v, &bits, sizeof(v));
        if (isnan(v))
            continue;
        /* Every other one of everyday size. */
        if (i % 2)
            v = (double)(bits >> (12 + bits % 50)) / (i % 4 == 1 ? 1000 : 1e8);
        buf_clear(&b);
        buf_add_double(&b, v);
        back = strtod(b.data, NULL);
        assert_memory_equal(&v, &back, sizeof(v));
        assert_true(b.len <= 25);
        assert_true(is_shortest(b.data, v));
    }
    buf_deinit(&b);
}

static const struct {
    const char *in, *json, *html;
} escape_cases[] = {
    {"", "\"\"", ""},
    {"plain", "\"plain\"", "plain"},
    {"a\"b\\c", "\"a\\\"b\\\\c\"", "a&quot;b\\c"},
    {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"", "\b\f\n\r\t"},
    {"\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"", "\x01\x1f\x7f"},
    {"<a href='x'>&", "\"<a href='x'>&\"", "&lt;a href=&#39;x&#39;&gt;&amp;"},
    {"gr\xC3\xBC\xC3\x9F", "\"gr\xC3\xBC\xC3\x9F\"", "gr\xC3\xBC\xC3\x9F"},
    {"\xF0\x9F\x90\x98", "\"\xF0\x9F\x90\x98\"", "\xF0\x9F\x90\x98"},
    {"a\xFF"
     "b",
     "\"a\xEF\xBF\xBD"
     "b\"",
     "a\xEF\xBF\xBD"
     "b"},
    {"\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"",
     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"cut \xE2\x82", "\"cut \xEF\xBF\xBD\xEF\xBF\xBD\"", "cut \xEF\xBF\xBD\xEF\xBF\xBD"},
};

static void test_escapes(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(escape_cases); i++) {
        buf_clear(&b);
        buf_add_json(&b, escape_cases[i].in);
        assert_string_equal(b.data, escape_cases[i].json);
        buf_clear(&b);
        buf_add_html(&b, escape_cases[i].in);
        assert_string_equal(b.data, escape_cases[i].html);
    }
    buf_deinit(&b);
}

static void add_raw(struct buf *b)
{
    buf_add(b, "123456", 6);
}

static void add_printf(struct buf *b)
{
    buf_printf(b, "%s-%d", "abc", 42);
}

static void add_json(struct buf *b)
{
    buf_add_json(b, "a\nbc");
}

static void add_html(struct buf *b)
{
    buf_add_html(b, "a<bc");
}

static void add_double(struct buf *b)
{
    buf_add_double(b, 1.2345);
}

static const struct {
    void (*add)(struct buf *b);
    size_t len;
} limit_cases[] = {{add_raw, 6}, {add_printf, 6}, {add_json, 7}, {add_html, 7}, {add_double, 6}};

/* At every maximum the append is there wholly, or not at all and nothing after it either. */
static void test_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limit_cases); i++) {
        for (size_t max = 2; max < 12; max++) {
            bool fits = 2 + limit_cases[i].len <= max;
            struct buf b;

            buf_init(&b, max);
            buf_add_str(&b, "xy");
            limit_cases[i].add(&b);
            assert_int_equal(buf_ok(&b), fits);
            assert_int_equal(b.len, fits ? 2 + limit_cases[i].len : 2);
            assert_int_equal(strlen(b.data), b.len);
            if (!fits) {
                buf_add_char(&b, 'z');
                assert_string_equal(b.data, "xy");
            }
            buf_clear(&b);
            assert_true(buf_ok(&b));
            buf_deinit(&b);
        }
    }
}

static void test_growth(void **state)
{
    struct buf b;
    size_t len;
    char *data;

    (void)state;
    buf_init(&b, SIZE_MAX);
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "%d,", i % 10);
    assert_true(buf_ok(&b));
    assert_int_equal(b.len, 40000);
    data = buf_take(&b, &len);
    assert_int_equal(len, 40000);
    assert_memory_equal(data + 39990, "5,6,7,8,9,", 11);
    mem_free(data);
    assert_string_equal(b.data, "");
    buf_add_str(&b, "again");
    assert_string_equal(b.data, "again");
    buf_deinit(&b);
    /* Nothing was put in, and nothing has to be released after a take. */
    buf_init(&b, 10);
    assert_string_equal(b.data, "");
    buf_clear(&b);
    data = buf_take(&b, &len);
    assert_int_equal(len, 0);
    assert_string_equal(data, "");
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles), cmocka_unit_test(test_doubles_read_back),
        cmocka_unit_test(test_escapes), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_growth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
