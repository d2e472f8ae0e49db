/* The head: what is appended can be read back to the bit, ends when its source ends it, and stays
 * within its bounds. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/store/head.h"

struct fixture {
    struct series_table *table;
    struct batch_builder *builder;
    struct head *head;
    struct arena *arena;
};

static void setup(struct fixture *f, int64_t keep_ms, size_t max_bytes)
{
    f->table = series_table_create(SERIES_CAP_DEFAULT);
    f->builder = batch_builder_create(f->table);
    f->head = head_create(keep_ms, max_bytes);
    f->arena = arena_create(1 << 20, ARENA_NO_LIMIT);
}

static void teardown(struct fixture *f)
{
    arena_destroy(&f->arena);
    head_destroy(&f->head);
    batch_builder_destroy(&f->builder);
    series_table_destroy(&f->table);
}

static void begin(struct fixture *f, const char *source, int64_t t)
{
    batch_begin(f->builder, source, (wall_ms){t}, NULL);
}

static void append(struct fixture *f)
{
    struct batch *b = batch_finish(f->builder);

    head_append(f->head, b);
    batch_unref(b);
}

static void put1(struct fixture *f, const char *source, const char *metric, int64_t t, double v)
{
    begin(f, source, t);
    BATCH_ADD(f->builder, metric, v, "node", "pg1");
    append(f);
}

static bool select_name(struct fixture *f, const char *name, int64_t t_min, int64_t t_max,
                        bool last_only, size_t max_points, struct read_result *out, struct err *err)
{
    struct matcher m = {MATCH_EQ, LABEL_METRIC, name, NULL};
    struct read_request req = {.matchers = &m,
                               .matcher_count = 1,
                               .t_min = t_min,
                               .t_max = t_max,
                               .last_only = last_only,
                               .max_points = max_points};
    struct reader *r = head_reader(f->head);

    return r->select(r, &req, f->arena, out, err);
}

static struct read_result must_select(struct fixture *f, const char *name, int64_t t_min,
                                      int64_t t_max, bool last_only)
{
    struct read_result out;
    struct err err = {0};

    assert_true(select_name(f, name, t_min, t_max, last_only, 10000000, &out, &err));
    return out;
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* ---- encoding ---- */
static double value_constant(int i)
{
    (void)i;
    return 42;
}
static double value_counter(int i)
{
    return 1e9 + i * 37.0;
}
static double value_down(int i)
{
    return 9007199254740990.0 - i * 1e13;
}
static double value_fraction(int i)
{
    return sin(i) * 1e3;
}
static double value_mixed(int i)
{
    static const double odd[] = {0, -0.0, 1, -1, 0.1, 1e308, -1e-308, 9007199254740993.0, 5e-324};

    if (i % 13 == 3)
        return NAN;
    if (i % 17 == 5)
        return INFINITY;
    if (i % 17 == 6)
        return -INFINITY;
    return odd[i % (int)ARRAY_LEN(odd)];
}
static int64_t step_steady(int i)
{
    (void)i;
    return 1000;
}
static int64_t step_jitter(int i)
{
    return 1000 + i * 7919 % 41 - 20;
}
static int64_t step_wild(int i)
{
    return i % 50 == 7 ? INT64_C(86400000000) : 1 + i * 7919 % 100000;
}

static void test_points_come_back_to_the_bit(void **state)
{
    static const struct {
        const char *name;
        double (*value)(int i);
        int64_t (*step)(int i);
    } cases[] = {
        {"constant", value_constant, step_steady}, {"counter", value_counter, step_jitter},
        {"down", value_down, step_jitter},         {"fraction", value_fraction, step_jitter},
        {"mixed", value_mixed, step_wild},         {"constant wild", value_constant, step_wild},
    };
    enum { N = 1000 };
    (void)state;

    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct fixture f;
        int64_t t = 1700000000000, times[N];

        setup(&f, INT64_MAX / 4, HEAD_BYTES_MAX);
        for (int i = 0; i < N; i++) {
            t += cases[c].step(i);
            times[i] = t;
            put1(&f, "pg1/x", "m", t, cases[c].value(i));
        }
        struct read_result r = must_select(&f, "m", 0, INT64_MAX, false);
        assert_int_equal(r.n, 1);
        assert_int_equal(r.series[0].n, N);
        for (int i = 0; i < N; i++) {
            if (r.series[0].points[i].t != times[i] ||
                !same_bits(r.series[0].points[i].v, cases[c].value(i)))
                fail_msg("%s: point %d differs", cases[c].name, i);
        }
        teardown(&f);
    }
}

/* ---- ranges ---- */
static void test_range_is_open_left_closed_right(void **state)
{
    static const struct {
        int64_t t_min, t_max;
        size_t n;
        int64_t first, last;
    } cases[] = {
        {0, 1000000, 500, 1000, 500000},     {1000, 3000, 2, 2000, 3000},
        {999, 1000, 1, 1000, 1000},          {1000, 1000, 0, 0, 0},
        {119000, 122000, 3, 120000, 122000}, {499999, 900000, 1, 500000, 500000},
        {500000, 900000, 0, 0, 0},           {0, 999, 0, 0, 0},
        {240000, 240999, 0, 0, 0},           {239999, 240000, 1, 240000, 240000},
    };
    struct fixture f;
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    for (int i = 1; i <= 500; i++)
        put1(&f, "pg1/x", "m", i * 1000, i);
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct read_result all = must_select(&f, "m", cases[c].t_min, cases[c].t_max, false);
        struct read_result last = must_select(&f, "m", cases[c].t_min, cases[c].t_max, true);
        assert_int_equal(all.n, cases[c].n > 0);
        assert_int_equal(last.n, cases[c].n > 0);
        if (cases[c].n == 0)
            continue;
        assert_int_equal(all.series[0].n, cases[c].n);
        assert_int_equal(all.series[0].points[0].t, cases[c].first);
        assert_int_equal(all.series[0].points[cases[c].n - 1].t, cases[c].last);
        assert_int_equal(last.series[0].n, 1);
        assert_int_equal(last.series[0].points[0].t, cases[c].last);
        assert_true(same_bits(last.series[0].points[0].v, (double)cases[c].last / 1000));
    }
    teardown(&f);
}

static void test_select_by_name_and_label(void **state)
{
    struct fixture f;
    struct matcher m[] = {{MATCH_EQ, LABEL_METRIC, "b", NULL}, {MATCH_NE, "node", "pg2", NULL}};
    struct matcher any[] = {{MATCH_EQ, "node", "pg2", NULL}};
    struct read_request req = {.matchers = m,
                               .matcher_count = 2,
                               .t_min = 0,
                               .t_max = 10,
                               .last_only = true,
                               .max_points = 100};
    struct read_result out;
    struct err err = {0};
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    begin(&f, "s", 5);
    for (int i = 1; i <= 3; i++) {
        char node[16];
        snprintf(node, sizeof(node), "pg%d", i);
        BATCH_ADD(f.builder, "a", i, "node", node);
        BATCH_ADD(f.builder, "b", 10 + i, "node", node);
    }
    append(&f);
    struct reader *r = head_reader(f.head);
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 2);
    for (size_t i = 0; i < out.n; i++) {
        assert_string_equal(labels_get(&out.series[i].labels, LABEL_METRIC), "b");
        assert_string_not_equal(labels_get(&out.series[i].labels, "node"), "pg2");
    }
    req.matchers = any;
    req.matcher_count = 1;
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 2);
    teardown(&f);
}

/* Of what is seen from each time of the grid nothing may be lost, whatever the chunks. */
static void check_grid(struct fixture *f, int64_t start, int64_t step, int64_t n)
{
    struct matcher m = {MATCH_EQ, LABEL_METRIC, "m", NULL};
    struct read_request req = {.matchers = &m,
                               .matcher_count = 1,
                               .t_min = start - 3000,
                               .t_max = start + (n - 1) * step,
                               .max_points = SIZE_MAX};
    struct reader *r = head_reader(f->head);
    struct read_result all, some;
    struct err err = {0};

    assert_true(r->select(r, &req, f->arena, &all, &err));
    req.grid_start = start;
    req.step_ms = step;
    assert_true(r->select(r, &req, f->arena, &some, &err));
    assert_int_equal(all.n, some.n);
    if (all.n == 0)
        return;
    assert_true(some.series[0].n <= (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) {
        int64_t t = start + i * step;
        size_t a = 0, b = 0;
        while (a < all.series[0].n && all.series[0].points[a].t <= t)
            a++;
        while (b < some.series[0].n && some.series[0].points[b].t <= t)
            b++;
        assert_int_equal(a > 0, b > 0);
        if (a > 0)
            assert_memory_equal(&all.series[0].points[a - 1], &some.series[0].points[b - 1],
                                sizeof(struct point));
    }
}

static void test_grid_keeps_what_is_seen(void **state)
{
    struct fixture f;
    uint32_t dice = 7;
    (void)state;

    setup(&f, INT64_C(1) << 40, HEAD_BYTES_MAX);
    for (int64_t t = 100000, i = 0; i < 1500; i++) {
        dice = dice * 1664525 + 1013904223;
        t += 1 + (i % 400 < 200 ? 1000 : dice % (i % 97 == 0 ? 900000 : 3000));
        put1(&f, "pg1/x", "m", t, i % 3 == 0 ? 1.5 * dice : i);
    }
    for (int64_t step = 1; step < 4000000; step = step * 3 + 100) {
        check_grid(&f, 90000, step, 300);
        check_grid(&f, 100000 + step, step, 300);
        check_grid(&f, 700001, step, 40);
    }
    teardown(&f);
}

static void test_limits(void **state)
{
    struct fixture f;
    struct read_result out;
    struct err err = {0};
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    for (int i = 1; i <= 300; i++)
        put1(&f, "pg1/x", "m", i * 1000, i);
    assert_true(select_name(&f, "m", 0, 1000000, false, 300, &out, &err));
    assert_false(select_name(&f, "m", 0, 1000000, false, 299, &out, &err));
    assert_int_equal(err.kind, ERR_LIMIT);

    struct arena *small = arena_create(0, 2048), *big = f.arena;
    f.arena = small;
    err = (struct err){0};
    assert_false(select_name(&f, "m", 0, 1000000, false, 300, &out, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    f.arena = big;
    arena_destroy(&small);
    teardown(&f);
}

/* ---- ends ---- */
static void test_missing_series_ends(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    for (int t = 1; t <= 4; t++) {
        begin(&f, "pg1/x", t * 1000);
        BATCH_ADD(f.builder, "stays", t);
        if (t <= 2)
            BATCH_ADD(f.builder, "goes", t);
        append(&f);
        put1(&f, "pg2/x", "other", t * 1000, t);
    }
    struct read_result r = must_select(&f, "goes", 0, 100000, false);
    assert_int_equal(r.series[0].n, 3);
    assert_true(point_is_stale(r.series[0].points[2].v));
    assert_int_equal(r.series[0].points[2].t, 3000);
    assert_int_equal(must_select(&f, "stays", 0, 100000, false).series[0].n, 4);
    assert_int_equal(must_select(&f, "other", 0, 100000, false).series[0].n, 4);

    /* It may come back, and end again with its source; the end is never before its last point. */
    begin(&f, "pg1/x", 5000);
    BATCH_ADD(f.builder, "stays", 5);
    BATCH_ADD(f.builder, "goes", 5);
    append(&f);
    head_end_source(f.head, "pg1/x", (wall_ms){4500});
    head_end_source(f.head, "nobody", (wall_ms){4500});
    head_end_source(f.head, "pg1/x", (wall_ms){9000});
    r = must_select(&f, "goes", 0, 100000, false);
    assert_int_equal(r.series[0].n, 5);
    assert_int_equal(r.series[0].points[4].t, 5001);
    assert_true(point_is_stale(r.series[0].points[4].v));
    assert_false(point_is_stale(must_select(&f, "other", 0, 100000, true).series[0].points[0].v));
    teardown(&f);
}

static void test_a_series_may_change_its_source(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    put1(&f, "a", "m", 1000, 1);
    put1(&f, "b", "m", 2000, 2);
    begin(&f, "a", 3000);
    append(&f);
    assert_int_equal(must_select(&f, "m", 0, 9000, false).series[0].n, 2);
    begin(&f, "b", 4000);
    append(&f);
    assert_int_equal(must_select(&f, "m", 0, 9000, false).series[0].n, 3);
    teardown(&f);
}

static void test_old_points_are_dropped_and_counted(void **state)
{
    static const struct {
        int64_t t;
        double v;
        uint64_t dropped;
    } cases[] = {{1000, 1, 0}, {2000, 2, 0}, {2000, 3, 1}, {1500, 4, 2}, {2001, 5, 2}};
    struct fixture f;
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put1(&f, "pg1/x", "m", cases[i].t, cases[i].v);
        assert_int_equal(head_stats(f.head).dropped_total, cases[i].dropped);
    }
    struct read_result r = must_select(&f, "m", 0, 9000, false);
    assert_int_equal(r.series[0].n, 3);
    assert_true(same_bits(r.series[0].points[1].v, 2));
    teardown(&f);
}

/* ---- bounds ---- */
static void test_says_since_when_it_is_complete(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1000, HEAD_BYTES_MAX);
    assert_true(head_complete_since(f.head) == INT64_MAX);
    head_trim(f.head, (wall_ms){4000});
    assert_true(head_complete_since(f.head) == INT64_MAX);
    put1(&f, "s", "m", 5000, 1);
    assert_int_equal(head_complete_since(f.head), 5000);
    put1(&f, "s", "m", 6000, 1);
    assert_int_equal(head_complete_since(f.head), 5000);
    head_trim(f.head, (wall_ms){6500});
    assert_int_equal(head_complete_since(f.head), 5500);
    head_trim(f.head, (wall_ms){6400});
    assert_int_equal(head_complete_since(f.head), 5500);
    teardown(&f);
}

static void test_trim_by_age(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f, 600000, HEAD_BYTES_MAX);
    put1(&f, "pg2/x", "old", 1000, 1);
    size_t before = head_stats(f.head).bytes;
    for (int i = 1; i <= 2000; i++)
        put1(&f, "pg1/x", "m", i * 1000, i);
    head_trim(f.head, (wall_ms){2000000});
    assert_int_equal(must_select(&f, "old", 0, INT64_MAX, false).n, 0);
    struct read_result r = must_select(&f, "m", 0, INT64_MAX, false);
    assert_in_range(r.series[0].n, 600, 720);
    assert_int_equal(r.series[0].points[r.series[0].n - 1].t, 2000000);
    assert_int_equal(head_stats(f.head).series, 1);
    assert_int_equal(head_stats(f.head).dropped_total, 0);

    head_trim(f.head, (wall_ms){9000000});
    assert_int_equal(head_stats(f.head).series, 0);
    assert_int_equal(head_stats(f.head).bytes, 0);
    assert_true(before > 0);
    series_table_sweep(f.table);
    assert_int_equal(series_table_count(f.table), 0);
    put1(&f, "pg1/x", "m", 9000000, 1);
    assert_int_equal(must_select(&f, "m", 0, INT64_MAX, true).n, 1);
    teardown(&f);
}

static void test_bounded_by_bytes(void **state)
{
    enum { MAX = 40000 };
    struct fixture f;
    (void)state;

    setup(&f, HEAD_KEEP_MS, MAX);
    for (int i = 1; i <= 5000; i++) {
        begin(&f, "pg1/x", i * 1000);
        BATCH_ADD(f.builder, "a", sin(i));
        BATCH_ADD(f.builder, "b", cos(i));
        append(&f);
        assert_in_range(head_stats(f.head).bytes, 1, MAX);
    }
    struct read_result r = must_select(&f, "a", 0, INT64_MAX, false);
    assert_int_equal(r.series[0].points[r.series[0].n - 1].t, 5000000);
    struct head_stats st = head_stats(f.head);
    assert_int_equal(st.samples_total, 10000);
    assert_int_equal(st.dropped_total + 2 * r.series[0].n, 10000);
    teardown(&f);
}

/* The target of the whole agent is 6 MiB: 60 series at 1 s and 340 at 5 s for 10 minutes. */
static void test_ten_minutes_are_small(void **state)
{
    struct fixture f;
    char label[16];
    (void)state;

    setup(&f, HEAD_KEEP_MS, HEAD_BYTES_MAX);
    for (int i = 0; i < 600; i++) {
        int64_t t = 1700000000000 + i * 1000 + i * 7919 % 7;
        begin(&f, "pg1/fast", t);
        for (int s = 0; s < 60; s++) {
            snprintf(label, sizeof(label), "%d", s);
            double v = s % 3 == 0 ? 1 : s % 3 == 1 ? i * 100.0 : sin(i + s);
            BATCH_ADD(f.builder, "fast", v, "s", label);
        }
        append(&f);
        if (i % 5 != 0)
            continue;
        begin(&f, "pg1/slow", t);
        for (int s = 0; s < 340; s++) {
            snprintf(label, sizeof(label), "%d", s);
            BATCH_ADD(f.builder, "slow", s % 2 == 0 ? s : i * s, "s", label);
        }
        append(&f);
    }
    print_message("head: %zu series, %zu bytes\n", head_stats(f.head).series,
                  head_stats(f.head).bytes);
    assert_int_equal(head_stats(f.head).series, 400);
    assert_in_range(head_stats(f.head).bytes, 1, 600 * 1024);
    teardown(&f);
}

/* ---- readers on other threads ---- */
struct racer {
    struct head *head;
    _Atomic bool stop;
    size_t selects;
    bool ok;
};

static bool is_ordered(const struct read_result *out)
{
    for (size_t s = 0; s < out->n; s++) {
        for (size_t i = 1; i < out->series[s].n; i++) {
            if (out->series[s].points[i].t <= out->series[s].points[i - 1].t)
                return false;
        }
        if (labels_get(&out->series[s].labels, LABEL_METRIC) == NULL)
            return false;
    }
    return true;
}

static void *race(void *arg)
{
    struct racer *r = arg;
    struct arena *arena = arena_create(1 << 20, ARENA_NO_LIMIT);
    struct reader *reader = head_reader(r->head);

    r->ok = true;
    while (!r->stop || r->selects == 0) {
        struct matcher m = {MATCH_EQ, LABEL_METRIC, "m", NULL};
        struct read_request req = {.matchers = &m,
                                   .matcher_count = r->selects % 2,
                                   .t_min = 0,
                                   .t_max = INT64_MAX,
                                   .max_points = SIZE_MAX};
        struct read_result out;
        struct err err;
        arena_reset(arena);
        r->ok = r->ok && reader->select(reader, &req, arena, &out, &err) && is_ordered(&out);
        r->selects++;
    }
    arena_destroy(&arena);
    return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
    struct fixture f;
    struct racer racers[2];
    pthread_t ids[2];
    (void)state;

    setup(&f, 60000, HEAD_BYTES_MAX);
    for (int i = 0; i < 2; i++) {
        racers[i] = (struct racer){.head = f.head};
        assert_int_equal(pthread_create(&ids[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 1; i <= 3000; i++) {
        char label[16];
        snprintf(label, sizeof(label), "%d", i / 100);
        begin(&f, "pg1/x", i * 1000);
        BATCH_ADD(f.builder, "m", i, "s", label);
        BATCH_ADD(f.builder, "other", i);
        append(&f);
        if (i % 50 == 0) {
            head_trim(f.head, (wall_ms){i * 1000});
            series_table_sweep(f.table);
        }
    }
    for (int i = 0; i < 2; i++) {
        racers[i].stop = true;
        pthread_join(ids[i], NULL);
        assert_true(racers[i].ok);
    }
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_come_back_to_the_bit),
        cmocka_unit_test(test_range_is_open_left_closed_right),
        cmocka_unit_test(test_select_by_name_and_label),
        cmocka_unit_test(test_grid_keeps_what_is_seen),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_missing_series_ends),
        cmocka_unit_test(test_a_series_may_change_its_source),
        cmocka_unit_test(test_old_points_are_dropped_and_counted),
        cmocka_unit_test(test_says_since_when_it_is_complete),
        cmocka_unit_test(test_trim_by_age),
        cmocka_unit_test(test_bounded_by_bytes),
        cmocka_unit_test(test_ten_minutes_are_small),
        cmocka_unit_test(test_readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
