/* Tests of diag.c and err.c: places, order, bounds, wrapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgvigil/base/diag.h"
#include "pgvigil/base/err.h"

static void test_print(void **state)
{
    struct diag d;
    struct buf out;

    (void)state;
    diag_init(&d);
    buf_init(&out, 10000);
    diag_add(&d, "b.yaml", 3, 1, "third of %s", "b");
    diag_add(&d, "a.yaml", 10, 2, "later");
    diag_add(&d, "a.yaml", 2, 9, "same place, found first");
    diag_add(&d, "a.yaml", 2, 9, "same place, found second");
    diag_add(&d, "a.yaml", 2, 3, "earlier");
    diag_add(&d, "a.yaml", 0, 0, "the file itself");
    diag_add(&d, "a.yaml", 5, 0, "no column");
    diag_add(&d, NULL, 0, 0, "no file");
    diag_print(&d, &out);
    assert_string_equal(out.data, "no file\n"
                                  "a.yaml: the file itself\n"
                                  "a.yaml:2:3: earlier\n"
                                  "a.yaml:2:9: same place, found first\n"
                                  "a.yaml:2:9: same place, found second\n"
                                  "a.yaml:5: no column\n"
                                  "a.yaml:10:2: later\n"
                                  "b.yaml:3:1: third of b\n");
    /* Printing leaves the order of finding. */
    assert_string_equal(d.entries[0].file, "b.yaml");
    diag_deinit(&d);
    assert_int_equal(d.count, 0);
    buf_deinit(&out);
}

static void test_bound(void **state)
{
    struct diag d;
    struct buf out;

    (void)state;
    diag_init(&d);
    buf_init(&out, 100000);
    diag_print(&d, &out);
    assert_string_equal(out.data, "");
    for (int i = 0; i < DIAG_MAX + 7; i++)
        diag_add(&d, "f", i + 1, 1, "finding");
    assert_int_equal(d.count, DIAG_MAX);
    assert_int_equal(d.dropped, 7);
    diag_print(&d, &out);
    assert_non_null(strstr(out.data, "f:200:1: finding\nand 7 more\n"));
    diag_deinit(&d);
    buf_deinit(&out);
}

static void test_err(void **state)
{
    struct err e = {0};
    char long_text[2000];

    (void)state;
    assert_false(err_set(&e, ERR_NET, "cannot connect to \"%s\"", "pg1"));
    assert_int_equal(e.kind, ERR_NET);
    assert_false(err_wrap(&e, "node \"%s\"", "a"));
    assert_string_equal(e.text, "node \"a\": cannot connect to \"pg1\"");
    assert_int_equal(e.kind, ERR_NET);
    /* Its own text as an argument. */
    err_set(&e, ERR_IO, "again: %s", e.text);
    assert_string_equal(e.text, "again: node \"a\": cannot connect to \"pg1\"");
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    err_wrap(&e, "%s", long_text);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    err_set(&e, ERR_LIMIT, "%s", long_text);
    err_wrap(&e, "short");
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(e.text, "short: xxx", 10);
    assert_false(err_set(NULL, ERR_IO, "nobody asks"));
    assert_false(err_wrap(NULL, "nobody asks"));
    for (int kind = ERR_NONE; kind <= ERR_INTERNAL; kind++)
        assert_string_not_equal(err_kind_name((enum err_kind)kind), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_err),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
