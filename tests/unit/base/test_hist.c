/* Tests of hist.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgvigil/base/hist.h"

static const struct {
    uint64_t ns;
    size_t bucket;
} bucket_cases[] = {
    {0, 0},
    {50000, 0},
    {50001, 1},
    {1000000, 4},
    {1000001, 5},
    {249999999, 11},
    {250000000, 11},
    {UINT64_C(1000000000), 12},
    {UINT64_C(5000000000), 13},
    {UINT64_C(5000000001), 14},
};

static void test_buckets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bucket_cases); i++) {
        struct hist h = {0};

        hist_observe_ns(&h, bucket_cases[i].ns);
        assert_int_equal(h.counts[bucket_cases[i].bucket], 1);
        assert_int_equal(hist_count(&h), 1);
        assert_int_equal(h.sum_ns, bucket_cases[i].ns);
        assert_int_equal(h.max_ns, bucket_cases[i].ns);
    }
    for (size_t i = 1; i < HIST_BOUNDS; i++)
        assert_true(hist_bounds_s[i] > hist_bounds_s[i - 1]);
}

static void test_quantiles(void **state)
{
    struct hist h = {0};

    (void)state;
    assert_true(hist_quantile_s(&h, 0.99) == 0);
    for (int i = 0; i < 98; i++)
        hist_observe_ns(&h, 2000000);
    hist_observe_ns(&h, 40000000);
    hist_observe_ns(&h, UINT64_C(7000000000));
    assert_int_equal(hist_count(&h), 100);
    assert_true(hist_quantile_s(&h, 0) == 2.5e-3);
    assert_true(hist_quantile_s(&h, 0.5) == 2.5e-3);
    assert_true(hist_quantile_s(&h, 0.98) == 2.5e-3);
    assert_true(hist_quantile_s(&h, 0.99) == 50e-3);
    /* Over the last bound the largest is the best that is known. */
    assert_true(hist_quantile_s(&h, 1) == 7);
    assert_int_equal(h.max_ns, UINT64_C(7000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_quantiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
