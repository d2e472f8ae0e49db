/* test_labels.c: order, printing and fingerprints of label sets. */
#include "pgvigil/model/labels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct labels set(struct label *pairs, size_t n)
{
    return (struct labels){.v = pairs, .n = labels_sort(pairs, n)};
}

/* Values of prometheus/common's own tests, so the same alert has the same id there and here. */
static void fingerprints_are_those_of_prometheus(void **state)
{
    static const struct {
        struct label pairs[3];
        size_t n;
        uint64_t fingerprint;
    } cases[] = {
        {{{0}}, 0, UINT64_C(14695981039346656037)},
        {{{"occupation", "robot"}, {"first_name", "electro"}, {"manufacturer", "westinghouse"}},
         3,
         UINT64_C(5911716720268894962)},
        {{{"x", "y"}}, 1, UINT64_C(8241431561484471700)},
        {{{"a", "bb"}, {"b", "c"}}, 2, UINT64_C(3016285359649981711)},
        {{{"a", "b"}, {"bb", "c"}}, 2, UINT64_C(7122421792099404749)},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label pairs[3];
        memcpy(pairs, cases[i].pairs, sizeof(pairs));
        struct labels ls = set(pairs, cases[i].n);
        assert_int_equal(labels_fingerprint(&ls), cases[i].fingerprint);
    }
}

static void sort_orders_and_drops(void **state)
{
    struct label pairs[] = {{"b", "2"}, {"a", "1"}, {"c", ""}, {"b", "3"}, {"__name__", "m"}};
    (void)state;
    struct labels ls = set(pairs, ARRAY_LEN(pairs));
    assert_int_equal(ls.n, 3);
    assert_string_equal(ls.v[0].name, "__name__");
    assert_string_equal(ls.v[1].name, "a");
    assert_string_equal(ls.v[2].name, "b");
    assert_string_equal(ls.v[2].value, "3"); /* the later one is meant */
    assert_string_equal(labels_get(&ls, "a"), "1");
    assert_null(labels_get(&ls, "c"));
    assert_string_equal(labels_get_or_empty(&ls, "c"), "");
}

static void printing_escapes(void **state)
{
    static const struct {
        struct label pairs[3];
        size_t n;
        const char *text;
    } cases[] = {
        {{{0}}, 0, "{}"},
        {{{"__name__", "up"}}, 1, "up"},
        {{{"a", "b"}}, 1, "{a=\"b\"}"},
        {{{"__name__", "up"}, {"b", "2"}, {"a", "1"}}, 3, "up{a=\"1\",b=\"2\"}"},
        {{{"a", "q\"\\\n"}}, 1, "{a=\"q\\\"\\\\\\n\"}"},
        {{{"Z", "1"}, {"__name__", "up"}}, 2, "up{Z=\"1\"}"}, /* Z sorts before __name__ */
        {{{"a", "\xff"
                "x\xc3\xa9"}},
         1,
         "{a=\"\xEF\xBF\xBDx\xc3\xa9\"}"},
    };
    struct buf out;
    (void)state;
    buf_init(&out, 1000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label pairs[3];
        memcpy(pairs, cases[i].pairs, sizeof(pairs));
        struct labels ls = set(pairs, cases[i].n);
        buf_clear(&out);
        labels_print(&ls, &out);
        assert_string_equal(out.data, cases[i].text);
    }
    buf_deinit(&out);
}

static void comparing_is_by_name_then_value(void **state)
{
    struct label a[] = {{"a", "1"}}, a2[] = {{"a", "2"}}, ab[] = {{"a", "1"}, {"b", "1"}};
    struct labels la = set(a, 1), la2 = set(a2, 1), lab = set(ab, 2), none = {0};
    (void)state;
    assert_true(labels_compare(&la, &la2) < 0);
    assert_true(labels_compare(&la2, &lab) > 0);
    assert_true(labels_compare(&la, &lab) < 0);
    assert_true(labels_compare(&none, &la) < 0);
    assert_int_equal(labels_compare(&lab, &lab), 0);
    assert_true(labels_equal(&lab, &lab));
    assert_false(labels_equal(&la, &lab));
    assert_int_not_equal(labels_hash(&la), labels_hash(&la2));
}

static void copies_are_deep(void **state)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    char value[] = "one";
    struct label pairs[] = {{"a", value}};
    struct labels ls = set(pairs, 1);
    struct labels copy = labels_copy(arena, &ls);
    (void)state;
    value[0] = 'X';
    assert_string_equal(labels_get(&copy, "a"), "one");
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprints_are_those_of_prometheus),
        cmocka_unit_test(sort_orders_and_drops),
        cmocka_unit_test(printing_escapes),
        cmocka_unit_test(comparing_is_by_name_then_value),
        cmocka_unit_test(copies_are_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
