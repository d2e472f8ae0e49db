/* Series written as text: labels, items, and what is none. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/base/str.h"
#include "pgvigil/model/reader.h"
#include "pgvigil/promql/series_notation.h"

static void print_items(const struct series_line *line, struct buf *out)
{
    for (size_t i = 0; i < line->n; i++) {
        const struct series_item *item = &line->items[i];
        buf_add_str(out, i > 0 ? " " : "");
        if (item->is_gap)
            buf_add_char(out, '_');
        else if (item->is_native)
            buf_add_char(out, 'H');
        else if (point_is_stale(item->v))
            buf_add_str(out, "stale");
        else
            buf_add_double(out, item->v);
    }
}

static void test_lines(void **state)
{
    static const struct {
        const char *text, *labels, *items; /* items NULL: refused */
    } cases[] = {
        {"m 1 2 3", "m", "1 2 3"},
        {"m{a=\"b\"} 1", "m{a=\"b\"}", "1"},
        {"{a='x', b=`y`,} 1", "{a=\"x\",b=\"y\"}", "1"},
        {"{\"odd name\", a=\"b\"} 1", NULL, "1"},
        {"m 1+2x3", "m", "1 3 5 7"},
        {"m 1-2x3", "m", "1 -1 -3 -5"},
        {"m -1.5e1+0.5x1", "m", "-15 -14.5"},
        {"m 4x2", "m", "4 4 4"},
        {"m 4x0", "m", "4"},
        {"m _ 1 _x3 2", "m", "_ 1 _ _ _ 2"},
        {"m stale stalex1 3", "m", "stale stale stale 3"},
        {"m NaN Inf -Inf +1", "m", "NaN +Inf -Inf 1"},
        {"m 0x10", "m", "0 0 0 0 0 0 0 0 0 0 0"},
        {"m\t1   2 # comment", "m", "1 2"},
        {"m", "m", ""},
        {"m {{sum:1 count:2}}x1 {{}}+{{}}x1", "m", "H H H H"},
        {"m 1 {a 3", NULL, NULL},
        {"m 1x", NULL, NULL},
        {"m 4_5", NULL, NULL},
        {"m 1x9999999", NULL, NULL},
        {"m 1x600000", NULL, NULL},
        {"m{a=b} 1", NULL, NULL},
        {"m{a=\"b} 1", NULL, NULL},
        {"m{a=\"b\" c=\"d\"} 1", NULL, NULL},
        {"m {{", NULL, NULL},
    };
    (void)state;
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct series_line line;
        struct err err = {0};
        struct buf items, labels;
        bool ok = series_line_parse(arena, cases[i].text, &line, &err);
        if (ok != (cases[i].items != NULL))
            fail_msg("%s: %s", cases[i].text, ok ? "was read" : err.text);
        if (!ok)
            continue;
        buf_init(&items, 4096);
        buf_init(&labels, 4096);
        print_items(&line, &items);
        labels_print(&line.labels, &labels);
        assert_string_equal(items.data, cases[i].items);
        if (cases[i].labels != NULL)
            assert_string_equal(labels.data, cases[i].labels);
        buf_deinit(&items);
        buf_deinit(&labels);
    }
    arena_destroy(&arena);
}

static void test_native_and_start_times_are_told(void **state)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct series_line line;
    struct err err = {0};
    (void)state;
    assert_true(series_line_parse(arena, "m 1 {{count:1}}", &line, &err));
    assert_true(line.has_native);
    assert_true(series_line_parse(arena, "m 1 2", &line, &err));
    assert_false(line.has_native || line.is_start_times);
    assert_true(series_line_parse(arena, "m@st 1m 2m", &line, &err));
    assert_true(line.is_start_times);
    arena_destroy(&arena);
}

static void test_labels_alone(void **state)
{
    static const struct {
        const char *text, *labels; /* NULL: refused */
    } cases[] = {
        {"m", "m"},
        {"{}", "{}"},
        {" m { a = \"b\" , } ", "m{a=\"b\"}"},
        {"{__name__=\"m\", a=\"b\"}", "m{a=\"b\"}"},
        {"m{a=\"\"}", "m"},
        {"m{a=\"b\"} 3", NULL},
        {"m{a=~\"b\"}", NULL},
        {"{", NULL},
        {"", NULL},
    };
    (void)state;
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct labels labels;
        struct err err = {0};
        struct buf out;
        bool ok = series_labels_parse(arena, cases[i].text, &labels, &err);
        if (ok != (cases[i].labels != NULL))
            fail_msg("%s: %s", cases[i].text, ok ? "was read" : err.text);
        if (!ok)
            continue;
        buf_init(&out, 4096);
        labels_print(&labels, &out);
        assert_string_equal(out.data, cases[i].labels);
        buf_deinit(&out);
    }
    arena_destroy(&arena);
}

static void test_limit_of_labels(void **state)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct buf text;
    struct labels labels;
    struct err err = {0};
    (void)state;
    buf_init(&text, 4096);
    buf_add_str(&text, "m{");
    for (int i = 1; i < LABELS_MAX; i++)
        buf_printf(&text, "l%d=\"x\",", i);
    char *fits = arena_printf(arena, "%s}", text.data);
    assert_true(series_labels_parse(arena, fits, &labels, &err));
    char *over = arena_printf(arena, "%sl0=\"x\"}", text.data);
    assert_false(series_labels_parse(arena, over, &labels, &err));
    buf_deinit(&text);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_native_and_start_times_are_told),
        cmocka_unit_test(test_labels_alone),
        cmocka_unit_test(test_limit_of_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
