/*
 * test_resolve.c: the resolver seam: what needs a look-up, last good answers, hanging names (DB18).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/resolve.h"
#include "pgvigil/base/str.h"
#include "pgvigil/base/workers.h"

#define WAIT_MS 4000

static atomic_bool released, failing;
static atomic_int asked;

/* "hang*" hangs for 60 s or until the test ends; the rest gets 10.0.0.<number of the question>. */
static bool fake_source(const char *host, struct resolve_answer *out, struct err *err, void *arg)
{
    (void)arg;
    int number = ++asked;
    for (int i = 0; i < 60000 && str_starts(host, "hang") && !released; i++)
        usleep(1000);
    if (failing)
        return err_set(err, ERR_NET, "host '%s' cannot be resolved: no such host", host);
    out->count = 1;
    snprintf(out->addrs[0], RESOLVE_TEXT_MAX, "10.0.0.%d", number);
    return true;
}

static int setup(void **state)
{
    (void)state;
    released = failing = false;
    asked = 0;
    resolve_set_source(fake_source, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    released = true;
    resolve_set_source(NULL, NULL);
    return 0;
}

static void only_names_are_looked_up(void **state)
{
    static const struct {
        const char *host;
        bool is_needed;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"/var/run/postgresql", false},
        {"@abstract", false},
        {"127.0.0.1", false},
        {"::1", false},
        {"fe80::1%1", false},
        {"db1", true},
        {"db.example.org", true},
        {"10.0.0.1.example", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(resolve_needed(cases[i].host), cases[i].is_needed);
}

static void the_last_good_answer_is_kept(void **state)
{
    struct resolve_answer answer;
    struct err err = {0};
    bool stale;
    (void)state;
    assert_false(resolve_last_good("keep", &answer));
    assert_true(resolve_host("keep", &answer, &stale, &err));
    assert_false(stale);
    assert_string_equal(answer.addrs[0], "10.0.0.1");
    assert_true(resolve_host("keep", &answer, &stale, &err)); /* an address may change */
    assert_string_equal(answer.addrs[0], "10.0.0.2");
    failing = true;
    assert_true(resolve_host("keep", &answer, &stale, &err));
    assert_true(stale);
    assert_int_equal(err.kind, ERR_NONE);
    assert_string_equal(answer.addrs[0], "10.0.0.2");
    assert_false(resolve_host("never-known", &answer, &stale, &err));
    assert_int_equal(err.kind, ERR_NET);
    assert_non_null(strstr(err.text, "'never-known'"));
}

static void the_memory_is_bounded(void **state)
{
    struct resolve_answer answer;
    struct err err;
    char host[32];
    bool stale;
    (void)state;
    assert_true(resolve_host("first", &answer, &stale, &err));
    assert_true(resolve_host("second", &answer, &stale, &err));
    for (int i = 0; i < RESOLVE_CACHE_MAX - 1; i++) {
        snprintf(host, sizeof(host), "filler%d", i);
        assert_true(resolve_last_good("second", &answer)); /* used all the time */
        assert_true(resolve_host(host, &answer, &stale, &err));
    }
    assert_false(resolve_last_good("first", &answer));
    assert_true(resolve_last_good("second", &answer));
    assert_true(resolve_last_good(host, &answer));
}

static void the_system_resolver_answers(void **state)
{
    struct resolve_answer answer;
    struct err err = {0};
    bool stale, found = false;
    (void)state;
    resolve_set_source(NULL, NULL);
    assert_true(resolve_host("localhost", &answer, &stale, &err));
    for (size_t i = 0; i < answer.count; i++)
        found |= str_eq(answer.addrs[i], "127.0.0.1") || str_eq(answer.addrs[i], "::1");
    assert_true(found);
    assert_false(resolve_host("no such name", &answer, &stale, &err));
    assert_int_equal(err.kind, ERR_NET);
}

struct lookup {
    char host[32];
    struct resolve_answer answer;
    bool ok, done;
};

static void work(void *arg)
{
    struct lookup *lookup = arg;
    struct err err;
    bool stale;
    lookup->ok = resolve_host(lookup->host, &lookup->answer, &stale, &err);
}

static int answered;

static void done(void *arg, bool cancelled)
{
    struct lookup *lookup = arg;
    if (cancelled)
        return;
    lookup->done = true;
    answered++;
}

static void count_tick(void *arg)
{
    (*(int *)arg)++;
}

/* Three names hang for 60 s; the loop's timer stays on time and all other names are answered. */
static void hanging_names_hold_up_nobody_else(void **state)
{
    enum { HUNG = 3, GOOD = 20 };
    static struct lookup lookups[HUNG + GOOD];
    static const struct workers_ops ops = {work, done, NULL};
    struct err err;
    int ticks = 0;
    uint64_t skipped = 0;
    (void)state;
    struct loop *loop = loop_create("test", &err);
    struct workers *workers = workers_create(loop, 8);
    struct loop_timer *timer = loop_timer_create(loop, count_tick, &ticks);
    loop_timer_start_period(timer, 10, 10, &skipped);
    for (int i = 0; i < HUNG + GOOD; i++) {
        snprintf(lookups[i].host, sizeof(lookups[i].host), "%s%d", i < HUNG ? "hang" : "ok", i);
        assert_non_null(workers_submit(workers, lookups[i].host, &ops, &lookups[i]));
    }
    mono_ms start = clock_read().mono, end = mono_add(start, WAIT_MS);
    while ((answered < GOOD || ticks < 30) && mono_before(clock_read().mono, end))
        loop_run_once(loop, true);
    assert_int_equal(answered, GOOD);
    for (int i = 0; i < HUNG + GOOD; i++)
        assert_int_equal(lookups[i].done, i >= HUNG);
    assert_true(ticks >= 30);
    assert_true(hist_quantile_s(loop_lateness(loop), 0.99) <= 0.05);
    loop_timer_destroy(&timer);
    workers_destroy(&workers);
    loop_destroy(&loop);
}

int main(void)
{
    alarm(120); /* a hang is a failure too */
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(only_names_are_looked_up),
        TEST(the_last_good_answer_is_kept),
        TEST(the_memory_is_bounded),
        TEST(the_system_resolver_answers),
        TEST(hanging_names_hold_up_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
