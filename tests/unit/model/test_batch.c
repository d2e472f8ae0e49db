/* test_batch.c: building batches: common labels, duplicates, limits. */
#include "pgvigil/model/batch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct fixture {
    struct series_table *table;
    struct batch_builder *builder;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.table = series_table_create(SERIES_CAP_DEFAULT);
    f.builder = batch_builder_create(f.table);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    batch_builder_destroy(&f->builder);
    series_table_destroy(&f->table);
    return 0;
}

static void samples_carry_the_common_labels(void **state)
{
    struct fixture *f = *state;
    char node[] = "pg1";
    const char *common[] = {"cluster", "main", "node", node, "zone", "", NULL};
    batch_begin(f->builder, "pg1/activity", (wall_ms){1000}, common);
    node[0] = 'X'; /* strings were copied */
    BATCH_ADD(f->builder, "db_up", 1, "zone", "");
    BATCH_ADD(f->builder, "db_connections", 7, "state", "idle", "cluster", "own");
    batch_add(f->builder, "db_locks_waiting", 0, NULL);
    struct batch *b = batch_finish(f->builder);
    assert_string_equal(b->source, "pg1/activity");
    assert_int_equal(b->at.ms, 1000);
    assert_int_equal(b->n, 3);
    assert_string_equal(b->samples[0].series->text, "db_up{cluster=\"main\",node=\"pg1\"}");
    assert_string_equal(b->samples[1].series->text,
                        "db_connections{cluster=\"own\",node=\"pg1\",state=\"idle\"}");
    assert_true(b->samples[1].value == 7);
    assert_string_equal(b->samples[2].series->text,
                        "db_locks_waiting{cluster=\"main\",node=\"pg1\"}");
    batch_unref(b);
}

static void the_last_of_two_wins(void **state)
{
    struct fixture *f = *state;
    batch_begin(f->builder, "a/b", (wall_ms){1}, NULL);
    BATCH_ADD(f->builder, "m", 1, "i", "1");
    BATCH_ADD(f->builder, "m", 2, "i", "2");
    BATCH_ADD(f->builder, "m", 3, "i", "1");
    BATCH_ADD(f->builder, "m", 4, "i", "1");
    struct batch *b = batch_finish(f->builder);
    assert_int_equal(b->n, 2);
    assert_true(b->samples[0].value == 4);
    assert_true(b->samples[1].value == 2);
    batch_unref(b);
}

static void batches_keep_their_series(void **state)
{
    struct fixture *f = *state;
    batch_begin(f->builder, "a/b", (wall_ms){1}, NULL);
    BATCH_ADD(f->builder, "m", 1, "i", "1");
    struct batch *b = batch_ref(batch_finish(f->builder));
    batch_unref(b);
    series_table_sweep(f->table);
    assert_int_equal(series_table_count(f->table), 1);
    assert_string_equal(b->samples[0].series->text, "m{i=\"1\"}");
    batch_unref(b);
    series_table_sweep(f->table);
    assert_int_equal(series_table_count(f->table), 0);
}

static void begin_forgets_what_was_not_finished(void **state)
{
    struct fixture *f = *state;
    const char *common[] = {"x", "y", NULL};
    batch_begin(f->builder, "a/b", (wall_ms){1}, common);
    BATCH_ADD(f->builder, "m", 1, "i", "1");
    batch_begin(f->builder, "c/d", (wall_ms){2}, NULL);
    BATCH_ADD(f->builder, "n", 1, "i", "1");
    struct batch *b = batch_finish(f->builder);
    assert_int_equal(b->n, 1);
    assert_string_equal(b->samples[0].series->text, "n{i=\"1\"}");
    batch_unref(b);
}

static void limits_refuse_and_count(void **state)
{
    struct fixture *f = *state;
    struct label pair = {"i", "1"};
    struct series *s = series_table_make(f->table, "m", &pair, 1);
    const char *pairs[2 * LABELS_MAX + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(pairs) - 1; i++)
        pairs[i] = "x";
    batch_begin(f->builder, "a/b", (wall_ms){1}, NULL);
    batch_add(f->builder, "m", 1, pairs);
    assert_int_equal(series_table_dropped(f->table), 1);
    for (size_t i = 0; i < BATCH_SAMPLES_MAX + 3; i++)
        batch_add_series(f->builder, s, (double)i);
    assert_int_equal(series_table_dropped(f->table), 4);
    struct batch *b = batch_finish(f->builder);
    assert_int_equal(b->n, 1);
    assert_true(b->samples[0].value == BATCH_SAMPLES_MAX - 1);
    batch_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(samples_carry_the_common_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_of_two_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batches_keep_their_series, set_up, tear_down),
        cmocka_unit_test_setup_teardown(begin_forgets_what_was_not_finished, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_refuse_and_count, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
