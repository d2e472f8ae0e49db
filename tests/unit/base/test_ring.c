/* Tests of ring.c: order and bounds, alone and with two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "pgvigil/base/ring.h"

struct item {
    uint64_t number;
    uint64_t check; /* ~number: a torn copy would show */
    char rest[40];
};

static void test_bounds(void **state)
{
    static const struct {
        size_t wanted, capacity;
    } cases[] = {{0, 1}, {1, 1}, {2, 2}, {3, 4}, {8, 8}, {1000, 1024}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ring *ring = ring_create(cases[i].wanted, sizeof(uint32_t));
        uint32_t v;

        assert_false(ring_get(ring, &v));
        /* Twice around, so that the counters pass the end. */
        for (int round = 0; round < 3; round++) {
            for (uint32_t k = 0; k < cases[i].capacity; k++)
                assert_true(ring_put(ring, &k));
            v = 99;
            assert_false(ring_put(ring, &v));
            assert_int_equal(ring_depth(ring), cases[i].capacity);
            for (uint32_t k = 0; k < cases[i].capacity; k++) {
                assert_true(ring_get(ring, &v));
                assert_int_equal(v, k);
            }
            assert_false(ring_get(ring, &v));
            assert_int_equal(ring_depth(ring), 0);
        }
        ring_destroy(&ring);
        assert_null(ring);
        ring_destroy(&ring);
    }
}

#define ITEMS UINT64_C(1000000)

static void *produce(void *arg)
{
    struct item item = {0};

    for (item.number = 0; item.number < ITEMS; item.number++) {
        item.check = ~item.number;
        memset(item.rest, (int)(item.number % 100), sizeof(item.rest));
        while (!ring_put(arg, &item))
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    struct ring *ring = ring_create(256, sizeof(struct item));
    struct item item;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, produce, ring), 0);
    for (uint64_t i = 0; i < ITEMS; i++) {
        while (!ring_get(ring, &item))
            sched_yield();
        /* Not cmocka's assert for each: a million of them is slow under the sanitizers. */
        if (item.number != i || item.check != ~i || item.rest[0] != (char)(i % 100) ||
            item.rest[39] != (char)(i % 100))
            fail_msg("item %llu came as %llu", (unsigned long long)i,
                     (unsigned long long)item.number);
        if (i % 1000 == 0)
            assert_true(ring_depth(ring) <= 256);
    }
    pthread_join(thread, NULL);
    assert_false(ring_get(ring, &item));
    ring_destroy(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
