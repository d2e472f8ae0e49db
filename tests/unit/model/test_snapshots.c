/* test_snapshots.c: the newest batch of each source, also with a reader on another thread. */
#include "pgvigil/model/batch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"

static struct batch *make(struct batch_builder *builder, const char *source, double value)
{
    batch_begin(builder, source, (wall_ms){(int64_t)value}, NULL);
    BATCH_ADD(builder, "m", value, "source", source);
    return batch_finish(builder);
}

static void put(struct snapshots *s, struct batch_builder *builder, const char *source,
                double value)
{
    struct batch *b = make(builder, source, value);
    snapshots_put(s, b);
    batch_unref(b);
}

static void release(struct batch **batches, size_t n)
{
    for (size_t i = 0; i < n; i++)
        batch_unref(batches[i]);
    mem_free(batches);
}

static void newest_of_each_source_in_order(void **state)
{
    struct series_table *table = series_table_create(SERIES_CAP_DEFAULT);
    struct batch_builder *builder = batch_builder_create(table);
    struct snapshots *s = snapshots_create();
    size_t n;
    (void)state;
    release(snapshots_get(s, &n), 0);
    assert_int_equal(n, 0);
    put(s, builder, "pg2/activity", 1);
    put(s, builder, "pg1/activity", 2);
    put(s, builder, "app/pools", 3);
    put(s, builder, "pg1/activity", 4);
    struct batch **batches = snapshots_get(s, &n);
    assert_int_equal(n, 3);
    assert_string_equal(batches[0]->source, "app/pools");
    assert_string_equal(batches[1]->source, "pg1/activity");
    assert_true(batches[1]->samples[0].value == 4);
    assert_string_equal(batches[2]->source, "pg2/activity");
    snapshots_drop(s, "pg1/activity");
    snapshots_drop(s, "not there");
    assert_true(batches[1]->samples[0].value == 4); /* still ours */
    release(batches, n);
    batches = snapshots_get(s, &n);
    assert_int_equal(n, 2);
    assert_string_equal(batches[1]->source, "pg2/activity");
    release(batches, n);
    snapshots_destroy(&s);
    batch_builder_destroy(&builder);
    series_table_destroy(&table);
}

struct race {
    struct snapshots *snapshots;
    _Atomic bool done;
    size_t seen;
    bool torn;
};

static void *read_snapshots(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->done)) {
        size_t n;
        struct batch **batches = snapshots_get(race->snapshots, &n);
        for (size_t i = 0; i < n; i++) {
            race->seen++;
            if (batches[i]->n != 1 || (double)batches[i]->at.ms != batches[i]->samples[0].value)
                race->torn = true;
        }
        release(batches, n);
    }
    return NULL;
}

static void two_threads(void **state)
{
    struct series_table *table = series_table_create(SERIES_CAP_DEFAULT);
    struct batch_builder *builder = batch_builder_create(table);
    struct race race = {.snapshots = snapshots_create()};
    pthread_t reader;
    (void)state;
    put(race.snapshots, builder, "a/a", 0);
    assert_int_equal(pthread_create(&reader, NULL, read_snapshots, &race), 0);
    for (int i = 1; i < 20000; i++) {
        put(race.snapshots, builder, i % 2 == 0 ? "a/a" : "b/b", i);
        if (i % 7 == 0)
            snapshots_drop(race.snapshots, "b/b");
        if (i % 100 == 0)
            series_table_sweep(table);
    }
    atomic_store(&race.done, true);
    pthread_join(reader, NULL);
    assert_false(race.torn);
    snapshots_destroy(&race.snapshots);
    batch_builder_destroy(&builder);
    series_table_destroy(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_of_each_source_in_order),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
