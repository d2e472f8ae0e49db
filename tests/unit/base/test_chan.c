/* Tests of chan.c: bounds, closing, waiting, many senders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "pgvigil/base/chan.h"
#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"

static int ints[100];

static void test_order_and_bounds(void **state)
{
    struct chan *chan = chan_create(40, 1000);

    (void)state;
    assert_null(chan_take(chan));
    /* Shifted starts, so that the circle grows while it is wrapped. */
    for (int round = 0; round < 7; round++) {
        for (int i = 0; i < 40; i++)
            assert_true(chan_put(chan, &ints[i], 10));
        assert_false(chan_put(chan, &ints[50], 10));
        assert_int_equal(chan_count(chan), 40);
        assert_int_equal(chan_bytes(chan), 400);
        for (int i = 0; i < 40; i++)
            assert_ptr_equal(chan_take(chan), &ints[i]);
        assert_true(chan_put(chan, &ints[0], 1000));
        assert_false(chan_put(chan, &ints[1], 1));
        assert_true(chan_put(chan, &ints[1], 0));
        assert_ptr_equal(chan_take(chan), &ints[0]);
        assert_ptr_equal(chan_take(chan), &ints[1]);
        assert_false(chan_put(chan, &ints[1], 1001));
        assert_int_equal(chan_bytes(chan), 0);
    }
    chan_destroy(&chan, NULL);
    assert_null(chan);
    chan_destroy(&chan, NULL);
}

static void test_growth_keeps_order(void **state)
{
    struct chan *chan = chan_create(100, 1000);

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(chan_put(chan, &ints[0], 0));
        assert_ptr_equal(chan_take(chan), &ints[0]);
    }
    for (int i = 0; i < 100; i++)
        assert_true(chan_put(chan, &ints[i], 0));
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(chan_take(chan), &ints[i]);
    chan_destroy(&chan, NULL);
}

static void test_close_and_release(void **state)
{
    struct chan *chan = chan_create(4, 100);

    (void)state;
    assert_true(chan_put(chan, mem_strdup("a"), 1));
    assert_true(chan_put(chan, mem_strdup("b"), 1));
    assert_true(chan_put(chan, mem_strdup("c"), 1));
    chan_close(chan);
    assert_false(chan_put(chan, &ints[0], 1));
    mem_free(chan_wait(chan, -1));
    chan_destroy(&chan, mem_free); /* the leak checker counts the other two */
    chan = chan_create(4, 100);
    chan_close(chan);
    assert_null(chan_wait(chan, -1));
    chan_destroy(&chan, NULL);
}

static void test_timeout(void **state)
{
    struct chan *chan = chan_create(4, 100);
    uint64_t began = clock_stage_ns();

    (void)state;
    assert_null(chan_wait(chan, 20));
    assert_true(clock_stage_ns() - began >= 20 * 1000000);
    assert_null(chan_wait(chan, 0));
    chan_destroy(&chan, NULL);
}

static void count_put(void *arg)
{
    __atomic_add_fetch((int *)arg, 1, __ATOMIC_RELAXED);
}

#define SENDERS       3
#define ITEMS_A_PIECE 20000

struct sender {
    struct chan *chan;
    uintptr_t next;
};

static void *send_numbers(void *arg)
{
    struct sender *s = arg;

    for (int i = 0; i < ITEMS_A_PIECE; i++, s->next++)
        while (!chan_put(s->chan, (void *)s->next, 8))
            sched_yield();
    return NULL;
}

/* All arrive, once, those of one sender in order, and each put is told once. */
static void test_many_senders(void **state)
{
    struct chan *chan = chan_create(64, 10000);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    uintptr_t expected[SENDERS];
    int puts = 0;

    (void)state;
    chan_on_put(chan, count_put, &puts);
    for (uintptr_t i = 0; i < SENDERS; i++) {
        expected[i] = (i + 1) * 1000000;
        senders[i] = (struct sender){.chan = chan, .next = expected[i]};
        pthread_create(&threads[i], NULL, send_numbers, &senders[i]);
    }
    for (int i = 0; i < SENDERS * ITEMS_A_PIECE; i++) {
        uintptr_t got = (uintptr_t)chan_wait(chan, 30000);
        size_t from = got / 1000000 - 1;

        assert_true(got != 0 && from < SENDERS);
        assert_int_equal(got, expected[from]);
        expected[from]++;
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(__atomic_load_n(&puts, __ATOMIC_RELAXED), SENDERS * ITEMS_A_PIECE);
    assert_int_equal(chan_bytes(chan), 0);
    chan_destroy(&chan, NULL);
}

static void *close_it(void *arg)
{
    chan_close(arg);
    return NULL;
}

static void test_close_wakes(void **state)
{
    struct chan *chan = chan_create(4, 100);
    pthread_t thread;

    (void)state;
    pthread_create(&thread, NULL, close_it, chan);
    assert_null(chan_wait(chan, -1));
    pthread_join(thread, NULL);
    chan_destroy(&chan, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bounds),  cmocka_unit_test(test_growth_keeps_order),
        cmocka_unit_test(test_close_and_release), cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_many_senders),      cmocka_unit_test(test_close_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
