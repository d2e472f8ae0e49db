/*
 * test_workers.c: every job is done once and disposed of once, whatever happens meanwhile.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/workers.h"

#define WAIT_MS 3000

static struct loop *loop;
static struct workers *workers;
static atomic_int running, most_running, works, disposed;
static atomic_bool gate_open;
static int dones, cancelled;
static pthread_t loop_thread;

struct item {
    bool waits; /* for gate_open */
    atomic_int works, dones, disposed;
};

static void work(void *arg)
{
    struct item *item = arg;
    int now_running = atomic_fetch_add(&running, 1) + 1;
    int most = atomic_load(&most_running);
    while (now_running > most && !atomic_compare_exchange_weak(&most_running, &most, now_running))
        ;
    while (item->waits && !atomic_load(&gate_open))
        usleep(500);
    assert_false(pthread_equal(pthread_self(), loop_thread));
    item->works++;
    works++;
    running--;
}

static void done(void *arg, bool was_cancelled)
{
    struct item *item = arg;
    assert_true(pthread_equal(pthread_self(), loop_thread));
    item->dones++;
    dones++;
    cancelled += was_cancelled;
}

static void dispose(void *arg)
{
    struct item *item = arg;
    item->disposed++;
    disposed++;
}

static const struct workers_ops ops = {work, done, dispose};

static int setup(void **state)
{
    struct err err;
    (void)state;
    running = most_running = works = disposed = 0;
    gate_open = false;
    dones = cancelled = 0;
    loop_thread = pthread_self();
    loop = loop_create("test", &err);
    workers = workers_create(loop, 8);
    return 0;
}

static bool waited_for(atomic_int *what, int n)
{
    mono_ms end = mono_add(clock_read().mono, WAIT_MS);
    while (atomic_load(what) < n && mono_before(clock_read().mono, end)) {
        loop_run_once(loop, false);
        usleep(500);
    }
    return atomic_load(what) >= n;
}

static int teardown(void **state)
{
    (void)state;
    workers_destroy(&workers);
    gate_open = true;
    loop_destroy(&loop);
    return 0;
}

static void each_job_is_done_and_disposed_once(void **state)
{
    enum { N = 200 };
    static struct item items[N];
    (void)state;
    for (int i = 0; i < N; i++)
        assert_non_null(workers_submit(workers, NULL, &ops, &items[i]));
    assert_true(waited_for(&disposed, N));
    for (int i = 0; i < N; i++) {
        assert_int_equal(items[i].works, 1);
        assert_int_equal(items[i].dones, 1);
        assert_int_equal(items[i].disposed, 1);
    }
    assert_int_equal(cancelled, 0);
    assert_int_equal(workers_queued(workers), 0);
    assert_in_range(most_running, 1, 8);
}

static void one_key_runs_one_at_a_time_without_holding_threads(void **state)
{
    static struct item same[4], other;
    (void)state;
    for (int i = 0; i < 4; i++) {
        same[i].waits = true;
        assert_non_null(workers_submit(workers, "name", &ops, &same[i]));
    }
    assert_true(waited_for(&running, 1));
    assert_non_null(workers_submit(workers, "other", &ops, &other));
    assert_true(waited_for(&disposed, 1));
    assert_int_equal(other.dones, 1);
    assert_int_equal(running, 1);
    assert_int_equal(workers_queued(workers), 3);
    gate_open = true;
    assert_true(waited_for(&disposed, 5));
    assert_in_range(most_running, 1, 2);
}

static void hung_names_leave_threads_for_the_rest(void **state)
{
    static struct item hung[12], plain;
    char key[16];
    (void)state;
    for (int i = 0; i < 12; i++) {
        hung[i].waits = true;
        snprintf(key, sizeof(key), "name%d", i);
        assert_non_null(workers_submit(workers, key, &ops, &hung[i]));
    }
    assert_true(waited_for(&running, 6));
    assert_non_null(workers_submit(workers, NULL, &ops, &plain));
    assert_true(waited_for(&disposed, 1));
    assert_int_equal(plain.dones, 1);
    gate_open = true;
    assert_true(waited_for(&disposed, 13));
}

static void cancelling_works_in_every_state(void **state)
{
    static struct item hung, queued, finished;
    (void)state;
    hung.waits = queued.waits = true;
    struct workers_job *a = workers_submit(workers, "k", &ops, &hung);
    assert_true(waited_for(&running, 1));
    struct workers_job *b = workers_submit(workers, "k", &ops, &queued);
    struct workers_job *c = workers_submit(workers, NULL, &ops, &finished);
    mono_ms end = mono_add(clock_read().mono, WAIT_MS);
    while (works < 1 && mono_before(clock_read().mono, end))
        usleep(500); /* no turn of the loop: it stays finished, not done */
    usleep(20000);
    workers_cancel(workers, b);
    assert_int_equal(queued.dones, 1);
    assert_int_equal(queued.disposed, 1);
    workers_cancel(workers, c);
    assert_int_equal(finished.dones, 1);
    assert_int_equal(finished.disposed, 1);
    workers_cancel(workers, a);
    assert_int_equal(hung.dones, 1);
    assert_int_equal(hung.disposed, 0); /* its work still runs */
    assert_int_equal(cancelled, 3);
    gate_open = true;
    assert_true(waited_for(&disposed, 3));
    assert_int_equal(hung.works, 1);
    assert_int_equal(queued.works, 0);
    assert_int_equal(dones, 3);
}

/* The thread comes back while the loop is still inside done(): arg must outlive that. */
static void done_slowly(void *arg, bool was_cancelled)
{
    struct item *item = arg;
    assert_true(was_cancelled);
    gate_open = true;
    for (int i = 0; i < WAIT_MS && running > 0; i++)
        usleep(1000);
    usleep(20000);
    assert_int_equal(item->works, 1);
    assert_int_equal(item->disposed, 0);
    item->dones++;
}

static void cancelling_holds_what_done_still_reads(void **state)
{
    static const struct workers_ops slow = {work, done_slowly, dispose};
    static struct item item;
    (void)state;
    item.waits = true;
    struct workers_job *job = workers_submit(workers, NULL, &slow, &item);
    assert_true(waited_for(&running, 1));
    workers_cancel(workers, job);
    assert_int_equal(item.dones, 1);
    assert_true(waited_for(&disposed, 1));
    assert_int_equal(item.disposed, 1);
}

static void destroying_leaves_hung_threads_behind(void **state)
{
    static struct item hung[3], queued;
    (void)state;
    for (int i = 0; i < 3; i++) {
        hung[i].waits = true;
        assert_non_null(workers_submit(workers, NULL, &ops, &hung[i]));
    }
    assert_true(waited_for(&running, 3));
    queued.waits = true;
    assert_non_null(workers_submit(workers, NULL, &ops, &queued));
    mono_ms start = clock_read().mono;
    workers_destroy(&workers);
    assert_in_range(mono_diff(clock_read().mono, start), 0, 500);
    assert_int_equal(dones, 4);
    assert_int_equal(cancelled, 4);
    gate_open = true;
    assert_true(waited_for(&disposed, 4));
}

static void the_queue_has_a_bound(void **state)
{
    static struct item blocker, many;
    int accepted = 0;
    (void)state;
    blocker.waits = true;
    assert_non_null(workers_submit(workers, "k", &ops, &blocker));
    assert_true(waited_for(&running, 1));
    while (accepted <= WORKERS_MAX_QUEUED && workers_submit(workers, "k", &ops, &many))
        accepted++;
    assert_int_equal(accepted, WORKERS_MAX_QUEUED);
    workers_destroy(&workers);
    assert_int_equal(many.dones, accepted);
    assert_int_equal(many.disposed, accepted);
    gate_open = true;
    assert_true(waited_for(&disposed, accepted + 1));
}

int main(void)
{
    alarm(120); /* a hang is a failure too */
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_job_is_done_and_disposed_once),
        TEST(one_key_runs_one_at_a_time_without_holding_threads),
        TEST(hung_names_leave_threads_for_the_rest),
        TEST(cancelling_works_in_every_state),
        TEST(cancelling_holds_what_done_still_reads),
        TEST(destroying_leaves_hung_threads_behind),
        TEST(the_queue_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
