/* Tests of arena.c: zeroes, growth in place, limits, reuse over resets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgvigil/base/arena.h"

static void assert_zeroed(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], 0);
}

static void test_alloc(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 16, 100, 4000, 4096, 5000, 300000, 3};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    char *all[ARRAY_LEN(sizes)];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            all[i] = arena_alloc(arena, sizes[i]);
            assert_int_equal((uintptr_t)all[i] % _Alignof(max_align_t), 0);
            assert_zeroed(all[i], sizes[i]);
            memset(all[i], (int)i + 1, sizes[i]);
        }
        /* Nobody wrote over anybody. */
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(all[i][k], i + 1);
        assert_true(arena_used(arena) >= 313223);
        arena_reset(arena);
        assert_int_equal(arena_used(arena), 0);
    }
    arena_destroy(&arena);
    assert_null(arena);
    arena_destroy(&arena);
}

/* A steady job gets the same memory round after round. */
static void test_reuse(void **state)
{
    struct arena *arena = arena_create(1 << 20, ARENA_NO_LIMIT);
    char *first[200];

    (void)state;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < ARRAY_LEN(first); i++) {
            char *p = arena_alloc(arena, 10 + i * 7);

            if (round == 0)
                first[i] = p;
            assert_ptr_equal(p, first[i]);
            assert_zeroed(p, 10 + i * 7);
            memset(p, 0xAA, 10 + i * 7);
        }
        arena_reset(arena);
    }
    arena_destroy(&arena);
}

static void test_grow(void **state)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    int *list = NULL, *grown;
    char *other;

    (void)state;
    list = arena_grow_array(arena, NULL, 0, 4, sizeof(*list));
    for (int i = 0; i < 4; i++)
        list[i] = i + 1;
    grown = arena_grow_array(arena, list, 4, 50, sizeof(*list));
    assert_ptr_equal(grown, list); /* last one, room in its block */
    assert_int_equal(grown[3], 4);
    assert_zeroed((const char *)&grown[4], 46 * sizeof(*list));
    other = arena_alloc(arena, 1);
    *other = 'x';
    list = arena_grow_array(arena, grown, 50, 100, sizeof(*list));
    assert_ptr_not_equal(list, grown);
    assert_int_equal(list[3], 4);
    assert_zeroed((const char *)&list[50], 50 * sizeof(*list));
    assert_int_equal(*other, 'x');
    list = arena_grow_array(arena, list, 100, 100000, sizeof(*list));
    assert_int_equal(list[2], 3);
    assert_zeroed((const char *)&list[100], 99900 * sizeof(*list));
    assert_ptr_equal(arena_grow_array(arena, list, 100000, 10, sizeof(*list)), list);
    arena_destroy(&arena);
}

static void test_limit(void **state)
{
    struct arena *arena = arena_create(0, 1000);

    (void)state;
    memset(arena_alloc(arena, 900), 1, 900);
    assert_false(arena_exceeded(arena));
    memset(arena_alloc(arena, 200), 1, 200);
    assert_true(arena_exceeded(arena));
    memset(arena_alloc(arena, 100000), 1, 100000);
    arena_reset(arena);
    assert_false(arena_exceeded(arena));
    arena_alloc(arena, 10);
    assert_false(arena_exceeded(arena));
    arena_destroy(&arena);
}

static void test_texts(void **state)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    char *long_text;

    (void)state;
    assert_string_equal(arena_strdup(arena, "abc"), "abc");
    assert_string_equal(arena_strndup(arena, "abc", 2), "ab");
    assert_string_equal(arena_strndup(arena, "abc", 9), "abc");
    assert_string_equal(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
    long_text = arena_printf(arena, "%*s", 10000, "end");
    assert_int_equal(strlen(long_text), 10000);
    assert_string_equal(long_text + 9997, "end");
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc), cmocka_unit_test(test_reuse), cmocka_unit_test(test_grow),
        cmocka_unit_test(test_limit), cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
