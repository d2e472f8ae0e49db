/*
 * test_loop.c: timers, turns, deferred work, descriptors and wakes of the loop.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/loop.h"

#define WAIT_MS 3000

/* A clock that only moves when the test says so. */
static struct now fake = {{1000}, {1700000000000}};

static struct now read_fake(void *arg)
{
    (void)arg;
    return fake;
}

static void advance(int64_t ms)
{
    fake.mono.ms += ms;
    fake.wall.ms += ms;
}

struct fixture {
    struct loop *loop;
    int calls;
    int order[16];
    struct loop_timer *timer;
};

static struct fixture fx;

static int setup(void **state)
{
    struct err err;
    (void)state;
    fx = (struct fixture){0};
    fx.loop = loop_create("test", &err);
    return fx.loop ? 0 : -1;
}

static int setup_fake(void **state)
{
    clock_set_source(read_fake, NULL);
    return setup(state);
}

static int teardown(void **state)
{
    (void)state;
    loop_timer_destroy(&fx.timer);
    loop_destroy(&fx.loop);
    clock_set_source(NULL, NULL);
    return 0;
}

static void count_call(void *arg)
{
    (void)arg;
    fx.calls++;
}

static void note_number(void *arg)
{
    fx.order[fx.calls++] = *(int *)arg;
}

static void turn(void)
{
    loop_run_once(fx.loop, false);
}

static void run_until_calls(int n)
{
    mono_ms end = mono_add(clock_read().mono, WAIT_MS);
    while (fx.calls < n && mono_before(clock_read().mono, end))
        loop_run_once(fx.loop, true);
    assert_true(fx.calls >= n);
}

static void timers_run_in_order_of_due(void **state)
{
    static const int64_t delays[] = {50, 10, 40, 10, 30, 20, 0, 10};
    static const int expect[] = {6, 1, 3, 7, 5, 4, 2, 0};
    static int numbers[ARRAY_LEN(delays)];
    struct loop_timer *timers[ARRAY_LEN(delays)];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        numbers[i] = (int)i;
        timers[i] = loop_timer_create(fx.loop, note_number, &numbers[i]);
        loop_timer_start(timers[i], delays[i]);
    }
    advance(9);
    turn();
    assert_int_equal(fx.calls, 1);
    advance(41);
    turn();
    assert_int_equal(fx.calls, 8);
    assert_memory_equal(fx.order, expect, sizeof(expect));
    for (size_t i = 0; i < ARRAY_LEN(delays); i++)
        loop_timer_destroy(&timers[i]);
}

static void many_timers_keep_the_heap_right(void **state)
{
    enum { N = 500 };
    static struct loop_timer *timers[N];
    uint32_t seed = 7;
    (void)state;
    for (int i = 0; i < N; i++) {
        timers[i] = loop_timer_create(fx.loop, count_call, NULL);
        seed = seed * 1664525 + 1013904223;
        loop_timer_start(timers[i], seed % 1000);
    }
    for (int i = 0; i < N; i += 3)
        loop_timer_stop(timers[i]);
    int left = 0;
    for (int i = 0; i < N; i++)
        left += loop_timer_active(timers[i]);
    for (int ms = 0; ms < 1000; ms++) {
        advance(1);
        turn();
    }
    assert_int_equal(fx.calls, left);
    assert_int_equal(left, N - (N + 2) / 3);
    for (int i = 0; i < N; i++)
        loop_timer_destroy(&timers[i]);
}

static void hours_pass_at_once_with_a_fake_clock(void **state)
{
    (void)state;
    fx.timer = loop_timer_create(fx.loop, count_call, NULL);
    loop_timer_start(fx.timer, (int64_t)6 * 3600 * 1000);
    turn();
    advance((int64_t)6 * 3600 * 1000 - 1);
    turn();
    assert_int_equal(fx.calls, 0);
    advance(1);
    turn();
    assert_int_equal(fx.calls, 1);
    assert_false(loop_timer_active(fx.timer));
}

static void period_stays_on_its_grid_and_counts_what_it_missed(void **state)
{
    static const struct {
        int64_t advance_ms;
        int calls;
        uint64_t skipped;
    } cases[] = {
        {99, 0, 0},  {1, 1, 0}, /* 100 */
        {100, 2, 0},            /* 200 */
        {130, 3, 0},            /* 330: late by 30 */
        {69, 3, 0},  {1, 4, 0}, /* 400: still on the grid */
        {350, 5, 2},            /* 750: 500 runs late, 600 and 700 are missed */
        {49, 5, 2},  {1, 6, 2}, /* 800 */
    };
    uint64_t skipped = 0;
    (void)state;
    fx.timer = loop_timer_create(fx.loop, count_call, NULL);
    loop_timer_start_period(fx.timer, 100, 100, &skipped);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        advance(cases[i].advance_ms);
        turn();
        assert_int_equal(fx.calls, cases[i].calls);
        assert_int_equal(skipped, cases[i].skipped);
    }
    assert_int_equal(hist_count(loop_lateness(fx.loop)), 6);
    assert_true(hist_quantile_s(loop_lateness(fx.loop), 1.0) >= 0.25);
}

static void destroy_self(void *arg)
{
    (void)arg;
    fx.calls++;
    loop_timer_destroy(&fx.timer);
}

static void restart_self(void *arg)
{
    (void)arg;
    fx.calls++;
    loop_timer_start(fx.timer, 0);
}

static void a_timer_may_destroy_or_restart_itself(void **state)
{
    (void)state;
    fx.timer = loop_timer_create(fx.loop, restart_self, NULL);
    loop_timer_start(fx.timer, 0);
    turn();
    assert_int_equal(fx.calls, 1); /* a timer that is armed in a turn runs in the next */
    turn();
    assert_int_equal(fx.calls, 2);
    loop_timer_destroy(&fx.timer);
    fx.timer = loop_timer_create(fx.loop, destroy_self, NULL);
    loop_timer_start_period(fx.timer, 0, 10, NULL);
    turn();
    advance(1000);
    turn();
    assert_int_equal(fx.calls, 3);
    assert_null(fx.timer);
}

static void now_is_the_same_for_a_turn(void **state)
{
    (void)state;
    turn();
    struct now first = loop_now(fx.loop);
    advance(77);
    assert_int_equal(loop_now(fx.loop).mono.ms, first.mono.ms);
    turn();
    assert_int_equal(loop_now(fx.loop).mono.ms, first.mono.ms + 77);
}

static void delays_count_from_the_real_time(void **state)
{
    (void)state;
    loop_now(fx.loop); /* the turn has read its clock */
    advance(80);       /* and then took long */
    fx.timer = loop_timer_create(fx.loop, count_call, NULL);
    loop_timer_start(fx.timer, 100);
    turn();
    advance(99);
    turn();
    assert_int_equal(fx.calls, 0);
    advance(1);
    turn();
    assert_int_equal(fx.calls, 1);
}

static int one = 1, two = 2, three = 3;

static void defer_again(void *arg)
{
    note_number(arg);
    loop_defer(fx.loop, note_number, &three);
}

static void deferred_work_keeps_its_order(void **state)
{
    static const int expect[] = {1, 2, 3};
    (void)state;
    loop_defer(fx.loop, defer_again, &one);
    loop_defer(fx.loop, note_number, &two);
    turn();
    run_until_calls(3); /* blocks for ever if the loop slept with work left */
    assert_int_equal(fx.calls, 3);
    assert_memory_equal(fx.order, expect, sizeof(expect));
}

static void deferred_work_is_not_lost_at_the_end(void **state)
{
    (void)state;
    loop_defer(fx.loop, defer_again, &one);
    loop_destroy(&fx.loop);
    assert_int_equal(fx.calls >= 1, true);
}

static struct loop_poll *the_poll;
static int pair[2], last_events;

static void on_events(int events, void *arg)
{
    (void)arg;
    fx.calls++;
    last_events = events;
    if (events & LOOP_READ)
        loop_poll_destroy(&the_poll);
}

static void a_descriptor_is_watched(void **state)
{
    struct err err;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    the_poll = loop_poll_create(fx.loop, pair[0], on_events, NULL, &err);
    assert_non_null(the_poll);
    loop_poll_set(the_poll, LOOP_WRITE);
    run_until_calls(1);
    assert_int_equal(last_events, LOOP_WRITE);
    loop_poll_set(the_poll, 0);
    turn();
    assert_int_equal(fx.calls, 1);
    loop_poll_set(the_poll, LOOP_READ);
    turn();
    assert_int_equal(fx.calls, 1);
    assert_int_equal(write(pair[1], "x", 1), 1);
    run_until_calls(2);
    assert_null(the_poll);
    /* The same number again, as libpq does when it connects anew. */
    the_poll = loop_poll_create(fx.loop, pair[0], on_events, NULL, &err);
    assert_non_null(the_poll);
    loop_poll_set(the_poll, LOOP_READ);
    run_until_calls(3);
    assert_null(loop_poll_create(fx.loop, 1 << 20, on_events, NULL, &err));
    assert_int_equal(err.kind, ERR_IO);
    close(pair[0]);
    close(pair[1]);
}

static struct loop_wake *the_wake;

static void *send_wakes(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        loop_wake_send(the_wake);
    return NULL;
}

static void wakes_come_from_other_threads(void **state)
{
    pthread_t thread;
    (void)state;
    the_wake = loop_wake_create(fx.loop, count_call, NULL);
    assert_int_equal(pthread_create(&thread, NULL, send_wakes, NULL), 0);
    run_until_calls(1);
    pthread_join(thread, NULL);
    assert_in_range(fx.calls, 1, 1000);
    loop_wake_destroy(&the_wake);
}

static void *stop_later(void *arg)
{
    while (loop_turns(arg) < 5)
        usleep(1000);
    loop_stop(arg);
    return NULL;
}

static void runs_until_it_is_stopped(void **state)
{
    pthread_t thread;
    (void)state;
    fx.timer = loop_timer_create(fx.loop, count_call, NULL);
    loop_timer_start_period(fx.timer, 0, 5, NULL);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, fx.loop), 0);
    loop_run(fx.loop);
    pthread_join(thread, NULL);
    assert_true(fx.calls >= 1);
    assert_string_equal(loop_name(fx.loop), "test");
}

static void real_timers_are_neither_early_nor_lazy(void **state)
{
    (void)state;
    mono_ms start = clock_read().mono;
    uint64_t turns = loop_turns(fx.loop);
    fx.timer = loop_timer_create(fx.loop, count_call, NULL);
    loop_timer_start(fx.timer, 60);
    run_until_calls(1);
    assert_in_range(mono_diff(clock_read().mono, start), 60, 1000);
    assert_in_range(loop_turns(fx.loop) - turns, 1, 20); /* asleep, not spinning */
}

static int slow_lines;

static void catch_line(enum log_level level, const char *line, void *arg)
{
    (void)arg;
    if (level == LOG_LEVEL_WARN && strstr(line, "slow turn"))
        slow_lines++;
}

static void be_slow(void *arg)
{
    uint64_t end = clock_stage_ns() + (uint64_t)(LOOP_TURN_WARN_MS + 5) * 1000000;
    (void)arg;
    while (clock_stage_ns() < end)
        ;
}

static void slow_turns_are_told_once_a_minute(void **state)
{
    (void)state;
    slow_lines = 0;
    log_set_sink(catch_line, NULL);
    for (int i = 0; i < 3; i++) {
        loop_defer(fx.loop, be_slow, NULL);
        turn();
    }
    assert_int_equal(slow_lines, 1);
    advance(60000);
    loop_defer(fx.loop, be_slow, NULL);
    turn();
    assert_int_equal(slow_lines, 2);
    assert_int_equal(hist_count(loop_turn_time(fx.loop)) >= 4, true);
    assert_true(hist_quantile_s(loop_turn_time(fx.loop), 1.0) >= 0.05);
    log_set_sink(NULL, NULL);
}

int main(void)
{
    alarm(120); /* a hang is a failure too */
#define REAL(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define FAKE(f) cmocka_unit_test_setup_teardown(f, setup_fake, teardown)
    const struct CMUnitTest tests[] = {
        FAKE(timers_run_in_order_of_due),
        FAKE(many_timers_keep_the_heap_right),
        FAKE(hours_pass_at_once_with_a_fake_clock),
        FAKE(period_stays_on_its_grid_and_counts_what_it_missed),
        FAKE(a_timer_may_destroy_or_restart_itself),
        FAKE(now_is_the_same_for_a_turn),
        FAKE(delays_count_from_the_real_time),
        REAL(deferred_work_keeps_its_order),
        REAL(deferred_work_is_not_lost_at_the_end),
        REAL(a_descriptor_is_watched),
        REAL(wakes_come_from_other_threads),
        REAL(runs_until_it_is_stopped),
        REAL(real_timers_are_neither_early_nor_lazy),
        FAKE(slow_turns_are_told_once_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
