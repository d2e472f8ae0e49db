/* test_series.c: one object for one label set, limits, sweeping. */
#include "pgvigil/model/series.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct series *make(struct series_table *t, const char *name, const char *key,
                           const char *value)
{
    struct label pair = {key, value};
    return series_table_make(t, name, &pair, 1);
}

static void the_same_labels_are_one_series(void **state)
{
    struct series_table *t = series_table_create(SERIES_CAP_DEFAULT);
    struct label ab[] = {{"b", "2"}, {"a", "1"}, {"gone", ""}}, ba[] = {{"a", "1"}, {"b", "2"}};
    struct series *one = series_table_make(t, "m", ab, 3);
    (void)state;
    assert_ptr_equal(one, series_table_make(t, "m", ba, 2));
    assert_ptr_not_equal(one, series_table_make(t, "n", ba, 2));
    assert_ptr_not_equal(one, make(t, "m", "a", "1"));
    assert_ptr_equal(one, series_table_get(t, &one->labels));
    assert_string_equal(one->name, "m");
    assert_string_equal(one->text, "m{a=\"1\",b=\"2\"}");
    assert_int_equal(one->hash, labels_hash(&one->labels));
    assert_int_equal(series_table_count(t), 3);
    series_table_destroy(&t);
    assert_null(t);
}

static void ids_grow_and_the_table_too(void **state)
{
    struct series_table *t = series_table_create(SERIES_CAP_DEFAULT);
    uint32_t last = 0;
    (void)state;
    for (int i = 0; i < 5000; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        struct series *s = make(t, "m", "i", value);
        assert_true(s->id > last);
        last = s->id;
    }
    assert_int_equal(series_table_count(t), 5000);
    assert_string_equal(make(t, "m", "i", "4321")->text, "m{i=\"4321\"}");
    assert_int_equal(series_table_count(t), 5000);
    series_table_destroy(&t);
}

static void sweep_frees_what_nobody_holds(void **state)
{
    struct series_table *t = series_table_create(SERIES_CAP_DEFAULT);
    struct series *held = series_ref(make(t, "m", "i", "held"));
    uint32_t id = held->id;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        make(t, "m", "i", value);
    }
    series_table_sweep(t);
    assert_int_equal(series_table_count(t), 1);
    assert_ptr_equal(make(t, "m", "i", "held"), held);
    assert_true(make(t, "m", "i", "1")->id > id + 3000); /* ids are not used again */
    series_table_destroy(&t);
    assert_string_equal(held->text, "m{i=\"held\"}"); /* outlives the table */
    series_unref(held);
}

static void what_is_over_a_limit_is_refused_and_counted(void **state)
{
    struct series_table *t = series_table_create(2);
    char long_value[LABEL_VALUE_MAX + 2], long_name[LABEL_NAME_MAX + 2];
    struct label many[LABELS_MAX];
    char names[LABELS_MAX][8];
    (void)state;
    memset(long_value, 'x', sizeof(long_value));
    memset(long_name, 'x', sizeof(long_name));
    long_value[sizeof(long_value) - 1] = long_name[sizeof(long_name) - 1] = '\0';
    assert_null(make(t, "m", "a", long_value));
    assert_null(make(t, "m", long_name, "a"));
    assert_null(make(t, "", "a", "b")); /* no name */
    for (size_t i = 0; i < LABELS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "l%zu", i);
        many[i] = (struct label){names[i], "v"};
    }
    assert_null(series_table_make(t, "m", many, LABELS_MAX));
    assert_non_null(series_table_make(t, "m", many, LABELS_MAX - 1));
    long_value[LABEL_VALUE_MAX] = '\0';
    assert_non_null(make(t, "m", "a", long_value));
    assert_int_equal(series_table_dropped(t), 4);
    assert_null(make(t, "m", "a", "over the cap"));
    assert_non_null(make(t, "m", "a", long_value)); /* known ones still work */
    assert_int_equal(series_table_dropped(t), 5);
    series_table_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_labels_are_one_series),
        cmocka_unit_test(ids_grow_and_the_table_too),
        cmocka_unit_test(sweep_frees_what_nobody_holds),
        cmocka_unit_test(what_is_over_a_limit_is_refused_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
