/* Head and history as one: no seam between them, and what happens when one of them is not there. */
#include "store_test.h"

#include "pgvigil/store/joined.h"

#define START INT64_C(1700000000000)

static struct {
    struct series_table *table;
    struct batch_builder *builder;
    struct head *head;
    struct joined_head *gate;
    struct joined *joined;
    struct arena *arena;
    char path[128];
} f;

static int setup(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    f.table = series_table_create(1000);
    f.builder = batch_builder_create(f.table);
    f.head = head_create(INT64_C(1) << 50, HEAD_BYTES_MAX);
    f.gate = joined_head_create(f.head);
    f.arena = arena_create(0, ARENA_NO_LIMIT);
    snprintf(f.path, sizeof(f.path), "%s/history.db", scratch_dir);
    return 0;
}

static int teardown(void **state)
{
    joined_destroy(&f.joined);
    joined_head_unref(f.gate);
    head_destroy(&f.head);
    arena_destroy(&f.arena);
    batch_builder_destroy(&f.builder);
    series_table_destroy(&f.table);
    return scratch_remove(state);
}

/* m{i="0".."n-1"} = t seconds after START. */
static struct batch *make(int t, int n)
{
    batch_begin(f.builder, "t/x", (wall_ms){START + t * 1000}, NULL);
    for (int i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        BATCH_ADD(f.builder, "m", t, "i", text);
    }
    return batch_finish(f.builder);
}

/* Seconds [from, to) of n series into the file. */
static void to_history(int from, int to, int n)
{
    struct history *h =
        history_create(&(struct history_opts){f.path, NULL, INT64_C(1) << 50, 1 << 30});
    for (int t = from; t < to; t++) {
        struct batch *b = make(t, n);
        history_put(h, b);
        batch_unref(b);
    }
    history_destroy(&h);
}

static void to_head(int from, int to, int n)
{
    for (int t = from; t < to; t++) {
        struct batch *b = make(t, n);
        head_append(f.head, b);
        batch_unref(b);
    }
}

/* (from, to], both in seconds after START. */
static bool read_part(int from, int to, bool last_only, struct read_result *out, struct err *err)
{
    static const struct matcher m = {MATCH_EQ, LABEL_METRIC, "m", NULL};
    const struct read_request req = {.matchers = &m,
                                     .matcher_count = 1,
                                     .t_min = START + from * INT64_C(1000),
                                     .t_max = START + to * INT64_C(1000),
                                     .last_only = last_only,
                                     .max_points = 100000};
    if (f.joined == NULL)
        f.joined = joined_create(f.gate, f.path);
    joined_begin(f.joined, NULL, NULL);
    *err = (struct err){0};
    return joined_reader(f.joined)->select(joined_reader(f.joined), &req, f.arena, out, err);
}

static void assert_run(const struct read_series *s, int first, int last)
{
    assert_int_equal(s->n, last - first + 1);
    for (size_t i = 0; i < s->n; i++) {
        assert_int_equal(s->points[i].t, START + (first + (int64_t)i) * 1000);
        assert_true(s->points[i].v == (double)(first + (int64_t)i));
    }
}

static void both_parts_are_one_series(void **state)
{
    static const struct {
        int from, to, first, last;
    } rows[] = {
        {-1, 99, 0, 99},   /* over the seam */
        {49, 59, 50, 59},  /* the head alone */
        {9, 19, 10, 19},   /* the file alone */
        {48, 51, 49, 51},  /* one point of the file */
        {20, 49, 21, 49},  /* up to the seam */
        {59, 200, 60, 99}, /* past the end */
    };
    struct read_result out;
    struct err err;
    (void)state;
    to_history(0, 70, 3); /* both have 50..69: no point comes twice */
    to_head(50, 100, 3);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(read_part(rows[i].from, rows[i].to, false, &out, &err));
        assert_int_equal(out.n, 3);
        for (size_t s = 0; s < out.n; s++)
            assert_run(&out.series[s], rows[i].first, rows[i].last);
    }
    assert_true(read_part(-1, 99, true, &out, &err));
    assert_int_equal(out.n, 3);
    assert_run(&out.series[0], 99, 99);
    assert_string_equal(joined_warning(f.joined), "");
}

static void each_part_may_have_series_of_its_own(void **state)
{
    struct read_result out;
    struct err err;
    size_t lengths[3] = {0};
    (void)state;
    to_history(0, 10, 3);
    to_head(10, 20, 1);
    assert_true(read_part(-1, 30, false, &out, &err));
    assert_int_equal(out.n, 3);
    for (size_t s = 0; s < out.n; s++)
        lengths[labels_get(&out.series[s].labels, "i")[0] - '0'] = out.series[s].n;
    assert_int_equal(lengths[0], 20);
    assert_int_equal(lengths[1], 10);
    assert_int_equal(lengths[2], 10);
}

static void a_part_may_be_missing(void **state)
{
    struct read_result out;
    struct err err;
    (void)state;
    to_head(10, 20, 1);
    assert_true(read_part(-1, 30, false, &out, &err)); /* there is no file yet */
    assert_int_equal(out.n, 1);
    assert_string_equal(joined_warning(f.joined), "");
    to_history(0, 10, 1);
    assert_true(read_part(-1, 30, false, &out, &err));
    assert_run(&out.series[0], 0, 19);
    joined_head_close(f.gate);
    assert_true(read_part(-1, 30, false, &out, &err));
    assert_run(&out.series[0], 0, 9);
}

static void a_broken_file_takes_only_its_part_away(void **state)
{
    struct read_result out;
    struct err err;
    (void)state;
    FILE *file = fopen(f.path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    to_head(10, 20, 1);
    assert_true(read_part(-1, 30, false, &out, &err));
    assert_run(&out.series[0], 10, 19);
    assert_non_null(strstr(joined_warning(f.joined), "history cannot be read: "));
    assert_true(read_part(12, 30, false, &out, &err)); /* the file is not asked for */
    assert_string_equal(joined_warning(f.joined), "");
}

static bool at_once(void *arg)
{
    (void)arg;
    return true;
}

static void deadline_and_limit_are_errors(void **state)
{
    static const struct matcher m = {MATCH_EQ, LABEL_METRIC, "m", NULL};
    struct read_request req = {
        .matchers = &m, .matcher_count = 1, .t_min = START - 1000, .max_points = 5};
    struct read_result out;
    struct err err = {0};
    (void)state;
    req.t_max = START + 2000000;
    to_history(0, 2000, 5); /* the deadline is looked at now and then */
    f.joined = joined_create(f.gate, f.path);
    joined_begin(f.joined, NULL, NULL);
    struct reader *reader = joined_reader(f.joined);
    assert_false(reader->select(reader, &req, f.arena, &out, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    req.max_points = 100000;
    joined_begin(f.joined, at_once, NULL);
    assert_false(reader->select(reader, &req, f.arena, &out, &err));
    assert_int_equal(err.kind, ERR_TIMEOUT);
    joined_begin(f.joined, NULL, NULL);
    assert_true(reader->select(reader, &req, f.arena, &out, &err));
}

/* A match that is slow for each of many series does not outlast the query. */
static enum regex_outcome slow_match(const void *regex, const char *text)
{
    (void)regex;
    (void)text;
    usleep(1000);
    return REGEX_MATCH;
}

static bool after_20ms(void *arg)
{
    return clock_stage_ns() - *(const uint64_t *)arg > UINT64_C(20000000);
}

static void matching_ends_with_the_query(void **state)
{
    static const struct matcher m = {MATCH_RE, "i", "", NULL};
    struct read_request req = {.matchers = &m,
                               .matcher_count = 1,
                               .regex_match = slow_match,
                               .t_min = START - 1000,
                               .t_max = START + 2000000,
                               .labels_only = true,
                               .max_points = 100000};
    struct read_result out;
    (void)state;
    for (int in_head = 0; in_head <= 1; in_head++) {
        uint64_t begin;
        struct err err = {0};
        if (in_head)
            to_head(0, 1, 900);
        else
            to_history(0, 1, 900);
        joined_destroy(&f.joined);
        f.joined = joined_create(f.gate, in_head ? NULL : f.path);
        begin = clock_stage_ns();
        joined_begin(f.joined, after_20ms, &begin);
        struct reader *reader = joined_reader(f.joined);
        assert_false(reader->select(reader, &req, f.arena, &out, &err));
        assert_int_equal(err.kind, ERR_TIMEOUT);
        assert_true(clock_stage_ns() - begin < UINT64_C(500000000)); /* 900 of them: a second */
    }
}

/* The gate outlives its owner's reference while a reader has it. */
static void a_reader_outlives_the_head(void **state)
{
    struct read_result out;
    struct err err;
    (void)state;
    to_history(0, 10, 1);
    to_head(10, 20, 1);
    assert_true(read_part(-1, 30, false, &out, &err));
    joined_head_close(f.gate);
    joined_head_unref(f.gate);
    f.gate = NULL;
    head_destroy(&f.head);
    assert_true(read_part(-1, 30, false, &out, &err));
    assert_run(&out.series[0], 0, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_parts_are_one_series, setup, teardown),
        cmocka_unit_test_setup_teardown(each_part_may_have_series_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_part_may_be_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_file_takes_only_its_part_away, setup, teardown),
        cmocka_unit_test_setup_teardown(deadline_and_limit_are_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(matching_ends_with_the_query, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_outlives_the_head, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
