/* history.db: every sample of every poll comes back as it was, whatever the disk does meanwhile. */
#include "store_test.h"

#include <math.h>
#include <regex.h>

#include "fault_child.h"
#include "fault_vfs.c"
#include "pgvigil/store/history.h"

#define DEADLINE_MS 20000
#define HOUR        INT64_C(3600000)
#define T0          INT64_C(1700000000000)

struct fixture {
    struct series_table *table;
    struct batch_builder *builder;
    struct arena *arena;
};

static struct fixture f;
static struct now fake_now;

static struct now read_fake(void *arg)
{
    (void)arg;
    return fake_now;
}

static int setup(void **state)
{
    (void)state;
    f.table = series_table_create(SERIES_CAP_DEFAULT);
    f.builder = batch_builder_create(f.table);
    f.arena = arena_create(1 << 20, ARENA_NO_LIMIT);
    fault_reset();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&f.arena);
    batch_builder_destroy(&f.builder);
    series_table_destroy(&f.table);
    clock_set_source(NULL, NULL);
    return 0;
}

static struct history *start(const char *path)
{
    struct history_opts opts = {path, FAULT_VFS, 1000000 * HOUR, INT64_C(1) << 40};

    return history_create(&opts);
}

static void put(struct history *h)
{
    struct batch *b = batch_finish(f.builder);

    history_put(h, b);
    batch_unref(b);
}

static void begin(const char *source, int64_t t)
{
    batch_begin(f.builder, source, (wall_ms){t}, NULL);
}

static struct history_stats stats_of(struct history *h)
{
    struct history_stats st;

    history_stats(h, &st);
    return st;
}

static int64_t real_ms(void)
{
    return (int64_t)(clock_stage_ns() / 1000000);
}

static void wait_samples(struct history *h, uint64_t n)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (stats_of(h).samples_total < n && real_ms() < until)
        usleep(2000);
    assert_int_equal(stats_of(h).samples_total, n);
}

static enum regex_outcome regex_match(const void *regex, const char *text)
{
    return regexec(regex, text, 0, NULL, 0) == 0 ? REGEX_MATCH : REGEX_NO_MATCH;
}

static bool select_with(const char *path, const struct matcher *m, size_t n, int64_t t_min,
                        int64_t t_max, bool last_only, size_t max_points, struct read_result *out,
                        struct err *err)
{
    struct read_request req = {.matchers = m,
                               .matcher_count = n,
                               .regex_match = regex_match,
                               .t_min = t_min,
                               .t_max = t_max,
                               .last_only = last_only,
                               .max_points = max_points};
    struct reader *r = history_reader_open(path, err);

    if (r == NULL)
        return false;
    bool ok = r->select(r, &req, f.arena, out, err);
    history_reader_close(&r);
    assert_null(r);
    return ok;
}

static struct read_result select_name(const char *path, const char *name, int64_t t_min,
                                      int64_t t_max, bool last_only)
{
    struct matcher m = {MATCH_EQ, LABEL_METRIC, name, NULL};
    struct read_result out;
    struct err err = {0};

    if (!select_with(path, &m, 1, t_min, t_max, last_only, 10000000, &out, &err))
        fail_msg("%s", err.text);
    return out;
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* ---- round trips ---- */
static void test_values_and_labels_come_back(void **state)
{
    const double values[] = {0,
                             1,
                             -1,
                             42.5,
                             1e300,
                             -5e-324,
                             9007199254740993.0,
                             INFINITY,
                             -INFINITY,
                             point_stale_value()};
    const char *path = scratch("values.db");
    const char *odd = "a\\b\"c\nd{e=\"f\",g}=,é";
    (void)state;

    struct history *h = start(path);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        begin("s", T0 + (int64_t)i * 1000);
        BATCH_ADD(f.builder, "m", values[i], "x", odd, "y", "1");
        BATCH_ADD(f.builder, "bare", i);
        put(h);
    }
    begin("s", T0 + 10000);
    BATCH_ADD(f.builder, "m", NAN, "x", odd, "y", "1");
    BATCH_ADD(f.builder, "bare", 10);
    put(h);
    history_destroy(&h);
    assert_null(h);

    struct read_result r = select_name(path, "m", 0, INT64_MAX, false);
    assert_int_equal(r.n, 1);
    assert_string_equal(labels_get(&r.series[0].labels, "x"), odd);
    assert_string_equal(labels_get(&r.series[0].labels, "y"), "1");
    assert_string_equal(labels_get(&r.series[0].labels, LABEL_METRIC), "m");
    assert_int_equal(r.series[0].labels.n, 3);
    assert_int_equal(r.series[0].n, ARRAY_LEN(values) + 1);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_int_equal(r.series[0].points[i].t, T0 + (int64_t)i * 1000);
        if (!same_bits(r.series[0].points[i].v, values[i]))
            fail_msg("value %zu: %g", i, r.series[0].points[i].v);
    }
    double last = r.series[0].points[ARRAY_LEN(values)].v;
    assert_true(isnan(last) && !point_is_stale(last));
    assert_int_equal(select_name(path, "bare", 0, INT64_MAX, false).series[0].labels.n, 1);
    assert_int_equal(select_name(path, "none", 0, INT64_MAX, false).n, 0);

    /* What a person sees with the sqlite3 shell. */
    assert_string_equal(look(path, "SELECT labels FROM series WHERE name = 'bare'"), "bare");
    assert_string_equal(look(path, "SELECT value FROM samples JOIN series ON id = series"
                                   " WHERE name = 'm' ORDER BY t LIMIT 1 OFFSET 3"),
                        "42.5");
    assert_string_equal(look(path, "SELECT count(*) FROM samples WHERE value IS NULL"), "2");
    assert_string_equal(look(path, "SELECT count(*) FROM nan_samples"), "1");
    assert_intact(path);
}

static void test_ranges_and_matchers(void **state)
{
    static const struct {
        int64_t t_min, t_max;
        size_t n;
    } ranges[] = {{0, INT64_MAX, 20},
                  {T0 + 1000, T0 + 3000, 2},
                  {T0 + 999, T0 + 1000, 1},
                  {T0 + 1000, T0 + 1000, 0},
                  {T0 + 20000, INT64_MAX, 0}};
    const char *path = scratch("ranges.db");
    regex_t re;
    (void)state;

    struct history *h = start(path);
    for (int i = 1; i <= 20; i++) {
        begin("s", T0 + i * 1000);
        for (int n = 1; n <= 3; n++) {
            char node[16];
            snprintf(node, sizeof(node), "pg%d", n);
            BATCH_ADD(f.builder, "a", i, "node", node);
            BATCH_ADD(f.builder, "b", i * n, "node", node);
        }
        BATCH_ADD(f.builder, "single", i);
        put(h);
    }
    history_destroy(&h);
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        static const struct {
            const char *name;
            size_t series;
        } names[] = {{"single", 1}, {"b", 3}};
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            size_t want = ranges[i].n > 0 ? names[k].series : 0;
            struct read_result all =
                select_name(path, names[k].name, ranges[i].t_min, ranges[i].t_max, false);
            struct read_result last =
                select_name(path, names[k].name, ranges[i].t_min, ranges[i].t_max, true);
            assert_int_equal(all.n, want);
            assert_int_equal(last.n, want);
            for (size_t s = 0; s < want; s++) {
                assert_int_equal(all.series[s].n, ranges[i].n);
                assert_int_equal(last.series[s].n, 1);
                assert_true(last.series[s].points[0].t == all.series[s].points[ranges[i].n - 1].t);
            }
        }
    }

    assert_int_equal(regcomp(&re, "^pg[12]$", REG_EXTENDED | REG_NOSUB), 0);
    const struct {
        struct matcher m[2];
        size_t n, series;
    } cases[] = {
        {{{MATCH_EQ, "node", "pg1", NULL}}, 1, 2},
        {{{MATCH_RE, "node", "pg[12]", &re}}, 1, 4},
        {{{MATCH_NRE, "node", "pg[12]", &re}}, 1, 3},
        {{{MATCH_EQ, LABEL_METRIC, "b", NULL}, {MATCH_RE, "node", "pg[12]", &re}}, 2, 2},
        {{{MATCH_EQ, LABEL_METRIC, "b", NULL}, {MATCH_NE, "node", "pg1", NULL}}, 2, 2},
        {{{MATCH_EQ, "node", "", NULL}}, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct read_result out;
        struct err err;
        assert_true(
            select_with(path, cases[i].m, cases[i].n, 0, INT64_MAX, i % 2 == 0, 1000, &out, &err));
        assert_int_equal(out.n, cases[i].series);
    }
    regfree(&re);
}

static void test_reader_limits_and_errors(void **state)
{
    const char *path = scratch("limits.db");
    struct matcher m = {MATCH_EQ, LABEL_METRIC, "m", NULL};
    struct read_result out;
    struct err err = {0};
    (void)state;

    assert_null(history_reader_open(path, &err));
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    struct history *h = start(path);
    for (int i = 1; i <= 50; i++) {
        begin("s", T0 + i * 1000);
        BATCH_ADD(f.builder, "m", i);
        put(h);
    }
    history_destroy(&h);
    assert_true(select_with(path, &m, 1, 0, INT64_MAX, false, 50, &out, &err));
    assert_false(select_with(path, &m, 1, 0, INT64_MAX, false, 49, &out, &err));
    assert_int_equal(err.kind, ERR_LIMIT);

    struct arena *big = f.arena;
    f.arena = arena_create(0, 1024);
    err = (struct err){0};
    assert_false(select_with(path, &m, 1, 0, INT64_MAX, false, 50, &out, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    arena_destroy(&f.arena);
    f.arena = big;

    /* A reader stays usable when the file is replaced under its path. */
    struct reader *r = history_reader_open(path, &err);
    struct read_request req = {
        .matchers = &m, .matcher_count = 1, .t_min = 0, .t_max = INT64_MAX, .max_points = 50};
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 1);
    remove_db(path);
    assert_false(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    h = start(path);
    begin("s", T0);
    BATCH_ADD(f.builder, "m", 77);
    put(h);
    wait_samples(h, 1);
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.series[0].n, 1);
    history_reader_close(&r);
    history_destroy(&h);
}

static bool stop_at_once(void *arg)
{
    ++*(int *)arg;
    return true;
}

/* A walk over all samples ends when its owner says so, and the reader is as good as before. */
static void test_reader_gives_up(void **state)
{
    const char *path = scratch("watch.db");
    struct matcher m = {MATCH_NE, LABEL_METRIC, "", NULL};
    struct read_request req = {
        .matchers = &m, .matcher_count = 1, .t_min = 0, .t_max = INT64_MAX, .max_points = 10000000};
    struct read_result out;
    struct err err = {0};
    int asked = 0;
    (void)state;

    struct history *h = start(path);
    for (int i = 0; i < 5000; i++) {
        begin("s", T0 + i);
        BATCH_ADD(f.builder, "m", i);
        put(h);
    }
    history_destroy(&h);
    struct reader *r = history_reader_open(path, &err);
    history_reader_watch(r, stop_at_once, &asked);
    assert_false(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(err.kind, ERR_TIMEOUT);
    assert_int_equal(asked, 1);
    history_reader_watch(r, NULL, NULL);
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.series[0].n, 5000);
    history_reader_close(&r);
}

/* Listing series reads no sample and leaves out those that ended long before. */
static void test_labels_only(void **state)
{
    const char *path = scratch("labels.db");
    struct matcher named = {MATCH_EQ, LABEL_METRIC, "old", NULL};
    struct read_request req = {.t_min = 0, .t_max = INT64_MAX, .labels_only = true};
    struct read_result out;
    struct err err = {0};
    (void)state;

    struct history *h = start(path);
    begin("a", T0);
    BATCH_ADD(f.builder, "old", 1);
    put(h);
    begin("b", T0 + 10 * HOUR);
    BATCH_ADD(f.builder, "new", 1);
    put(h);
    history_destroy(&h);
    struct reader *r = history_reader_open(path, &err);
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 2);
    assert_int_equal(out.series[0].n, 0);
    req.t_min = T0 + 9 * HOUR;
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 1);
    assert_string_equal(labels_get(&out.series[0].labels, LABEL_METRIC), "new");
    req.matchers = &named;
    req.matcher_count = 1;
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 0);
    req.t_min = 0;
    assert_true(r->select(r, &req, f.arena, &out, &err));
    assert_int_equal(out.n, 1);
    history_reader_close(&r);
}

/* ---- series that end ---- */
static void test_missing_series_ends(void **state)
{
    const char *path = scratch("ends.db");
    (void)state;

    for (int run = 0; run < 2; run++) {
        struct history *h = start(path);
        for (int t = 1; t <= 4; t++) {
            begin("pg1/x", T0 + run * HOUR + t * 1000);
            BATCH_ADD(f.builder, "stays", t);
            if (t <= 2)
                BATCH_ADD(f.builder, "goes", t);
            put(h);
            if (t == 2)
                wait_samples(h, 4); /* also across transactions */
        }
        history_destroy(&h);
    }
    struct read_result r = select_name(path, "goes", 0, INT64_MAX, false);
    assert_int_equal(r.series[0].n, 6);
    assert_true(point_is_stale(r.series[0].points[2].v));
    assert_true(point_is_stale(r.series[0].points[5].v));
    assert_int_equal(r.series[0].points[2].t, T0 + 3000);
    assert_int_equal(select_name(path, "stays", 0, INT64_MAX, false).series[0].n, 8);
    assert_string_equal(look(path, "SELECT count(*) FROM series"), "2");
}

static void test_empty_batch_ends_a_source(void **state)
{
    const char *path = scratch("empty.db");
    (void)state;

    struct history *h = start(path);
    begin("pg1/x", T0);
    BATCH_ADD(f.builder, "m", 1);
    put(h);
    begin("pg1/x", T0 + 1000);
    put(h);
    begin("pg1/x", T0 + 2000);
    put(h);
    history_destroy(&h);
    assert_int_equal(select_name(path, "m", 0, INT64_MAX, false).series[0].n, 2);
}

/* ---- bounds ---- */
static void wait_for_value(const char *path, const char *sql, const char *value)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (!str_eq(look(path, sql), value) && real_ms() < until)
        usleep(5000);
    assert_string_equal(look(path, sql), value);
}

static void fill(struct history *h, int64_t t, int batches, int per_batch)
{
    for (int i = 0; i < batches; i++) {
        begin("s", t + i * 1000);
        for (int s = 0; s < per_batch; s++) {
            char label[16];
            snprintf(label, sizeof(label), "%d", s);
            BATCH_ADD(f.builder, "m", sin(i + s), "s", label);
        }
        put(h);
    }
}

static void test_retention(void **state)
{
    const char *path = scratch("age.db");
    (void)state;

    fake_now = (struct now){{1000000}, {T0}};
    clock_set_source(read_fake, NULL);
    struct history *h = start(path);
    begin("old", T0 - 10 * HOUR);
    BATCH_ADD(f.builder, "gone", NAN);
    put(h);
    fill(h, T0 - 5 * HOUR, 100, 100);
    fill(h, T0, 3, 100);
    history_destroy(&h);
    assert_string_equal(look(path, "SELECT count(*) FROM samples"), "10301");

    struct history_opts opts = {path, FAULT_VFS, HOUR, INT64_C(1) << 40};
    h = history_create(&opts);
    wait_for_value(path, "SELECT count(*) FROM samples", "300");
    wait_for_value(path, "SELECT count(*) FROM nan_samples", "0");
    wait_for_value(path, "SELECT count(*) FROM series WHERE name = 'gone'", "0");
    assert_string_equal(look(path, "SELECT count(*) FROM series"), "100");
    history_reconfigure(h, 30 * HOUR, INT64_C(1) << 40);
    history_destroy(&h);
    assert_intact(path);
}

/* ST15 */
static void test_size(void **state)
{
    enum { CAP = 300 * 1024 };
    const char *path = scratch("size.db");
    struct stat st;
    (void)state;

    struct history *h = start(path);
    fill(h, T0, 400, 100);
    history_destroy(&h);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 2 * CAP);

    struct history_opts opts = {path, FAULT_VFS, 1000000 * HOUR, CAP};
    h = history_create(&opts);
    int64_t until = real_ms() + DEADLINE_MS;
    while ((stats_of(h).file_bytes == 0 || stat(path, &st) != 0 || st.st_size > CAP) &&
           real_ms() < until) {
        usleep(20000);
        history_destroy(&h); /* a checkpoint shrinks the file */
        h = history_create(&opts);
        usleep(20000);
    }
    assert_in_range(st.st_size, 1, CAP);
    for (int round = 1; round <= 5; round++) {
        fill(h, T0 + round * HOUR, 100, 100);
        history_destroy(&h);
        h = history_create(&opts);
        usleep(50000);
    }
    history_destroy(&h);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < CAP * 2); /* one round of 10,000 rows is as large as the cap */
    struct read_result r = select_name(path, "m", 0, INT64_MAX, true);
    assert_int_equal(r.n, 100);
    assert_int_equal(r.series[0].points[0].t, T0 + 5 * HOUR + 99 * 1000);
    assert_intact(path);
}

/* ST11: nobody waits for a stalled disk, the oldest goes and is counted. */
static void test_queue_bound(void **state)
{
    const char *path = scratch("queue.db");
    (void)state;

    struct history *h = start(path);
    begin("first", T0);
    BATCH_ADD(f.builder, "first", 1);
    put(h);
    wait_samples(h, 1);
    fault_plan.kind = FAULT_EIO;
    fault_plan.for_ever = true;
    fault_plan.at = 1;
    fault_plan.operations = 1;
    int64_t slowest = 0;
    const int batches = 1400;
    struct batch *b = NULL, *before = NULL;
    for (int i = 0; i < batches; i++) {
        begin("s", T0 + i * 1000);
        for (int s = 0; s < 1000; s++) {
            char label[16];
            snprintf(label, sizeof(label), "%d", s);
            if (before != NULL)
                batch_add_series(f.builder, before->samples[s].series, i);
            else
                BATCH_ADD(f.builder, "m", i, "s", label);
        }
        b = batch_finish(f.builder);
        int64_t began = real_ms();
        history_put(h, b);
        slowest = i64_max(slowest, real_ms() - began);
        if (before != NULL)
            batch_unref(before);
        before = b;
        assert_in_range(stats_of(h).queued_bytes, 0, HISTORY_QUEUE_BYTES);
    }
    batch_unref(b);
    struct history_stats st = stats_of(h);
    assert_true(st.dropped_total > 0 && st.dropped_total < 1000 * 1400);
    assert_true(slowest < 500);
    int64_t until = real_ms() + DEADLINE_MS;
    while (!stats_of(h).degraded && real_ms() < until)
        usleep(2000);
    assert_true(stats_of(h).degraded);
    assert_true(stats_of(h).error[0] != '\0');

    /* The disk is back: what was kept is written, nothing else is lost. */
    fault_reset();
    uint64_t kept = 1 + UINT64_C(1000) * (uint64_t)batches - stats_of(h).dropped_total;
    wait_samples(h, kept);
    until = real_ms() + DEADLINE_MS;
    while (stats_of(h).degraded && real_ms() < until)
        usleep(2000);
    assert_false(stats_of(h).degraded);
    assert_int_equal(stats_of(h).queued_bytes, 0);
    assert_true(hist_count(history_commit_time(h)) >= 2);
    history_destroy(&h);
    struct read_result r = select_name(path, "m", 0, INT64_MAX, true);
    assert_int_equal(r.n, 1000);
    assert_int_equal(r.series[0].points[0].t, T0 + (batches - 1) * 1000);
}

/* ---- ends at every write ---- */
static const char *victim;
enum { ROUNDS = 4, PER_ROUND = 30 };

static void write_rounds(int fd)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct history *h = start(victim);
        begin("s", T0 + round * 1000);
        for (int s = 0; s < PER_ROUND; s++) {
            char label[16];
            snprintf(label, sizeof(label), "%d", s + round);
            BATCH_ADD(f.builder, "m", round, "s", label);
        }
        put(h);
        int64_t until = real_ms() + DEADLINE_MS;
        while (stats_of(h).samples_total == 0 && !stats_of(h).degraded && real_ms() < until)
            usleep(500);
        bool written = stats_of(h).samples_total > 0;
        if (written)
            acknowledge(fd);
        history_destroy(&h);
    }
}

/* ST2, ST3, ST8: what was committed is there, and a poll is there whole or not at all. */
static void test_end_at_every_write(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_KILL, FAULT_POWER, FAULT_ENOSPC, FAULT_EIO};
    (void)state;

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        long at;
        victim = scratch("end.db");
        for (at = 1; at < 2000; at++) {
            bool killed;
            int acks = run_faulted(write_rounds, victim, kinds[k], at, &killed);
            struct history *h = start(victim);
            begin("again", T0 + HOUR);
            BATCH_ADD(f.builder, "again", 1);
            put(h);
            history_destroy(&h);
            assert_intact(victim);
            int found = (int)strtol(
                look(victim, "SELECT count(DISTINCT t) FROM samples JOIN series ON id = series"
                             " WHERE name = 'm'"),
                NULL, 10);
            /* A power loss may take what was not yet checkpointed: here, the newest round. */
            if (found < (kinds[k] == FAULT_POWER ? acks - 1 : acks))
                fail_msg("kind %d, operation %ld: %d acknowledged, %d found", (int)kinds[k], at,
                         acks, found);
            assert_string_equal(look(victim, "SELECT count(*) FROM (SELECT t FROM samples"
                                             " GROUP BY t HAVING count(*) NOT IN (30, 1))"),
                                "0");
            assert_string_equal(look(victim, "SELECT count(*) FROM samples WHERE series NOT IN"
                                             " (SELECT id FROM series)"),
                                "0");
            bool dies = kinds[k] == FAULT_KILL || kinds[k] == FAULT_POWER;
            if (dies ? !killed : acks == ROUNDS && at > 60)
                break;
        }
        print_message("%ld operations\n", at);
        assert_in_range(at, 30, 1000);
    }
}

/* ---- files that cannot be used ---- */
static void write_one(const char *path, const char *metric)
{
    struct history *h = start(path);

    begin(metric, T0);
    batch_add(f.builder, metric, 1, NULL);
    put(h);
    history_destroy(&h);
}

/* ST6 */
static void test_damaged_file_is_set_aside(void **state)
{
    const char *path = scratch("damaged.db");
    FILE *file;
    (void)state;

    struct history *h = start(path);
    fill(h, T0, 50, 50);
    history_destroy(&h);
    file = fopen(path, "r+b");
    assert_non_null(file);
    for (int i = 0; i < 3 * 4096; i++)
        fputc(i * 7919 % 251, file);
    fclose(file);
    h = start(path);
    begin("s", T0 + HOUR);
    BATCH_ADD(f.builder, "after", 1);
    put(h);
    wait_samples(h, 1);
    history_destroy(&h);
    assert_int_equal(set_aside_count(), 1);
    assert_int_equal(select_name(path, "after", 0, INT64_MAX, false).n, 1);
    assert_intact(path);
}

/* ST14 */
static void test_newer_file_is_left_alone(void **state)
{
    const char *path = scratch("newer.db");
    struct err err = {0};
    (void)state;

    write_one(path, "m");
    write_sql(path, "PRAGMA user_version=99");
    uint64_t before = file_hash(path);
    struct history *h = start(path);
    begin("s", T0 + HOUR);
    BATCH_ADD(f.builder, "m", 1);
    put(h);
    int64_t until = real_ms() + DEADLINE_MS;
    while (!stats_of(h).degraded && real_ms() < until)
        usleep(2000);
    assert_non_null(strstr(stats_of(h).error, "newer"));
    history_destroy(&h);
    assert_true(file_hash(path) == before);
    assert_null(history_reader_open(path, &err));
    assert_int_equal(err.kind, ERR_NEWER);
}

/* ST13: a shell that holds the write lock delays the writer, no more. */
static void test_locked_by_a_shell(void **state)
{
    const char *path = scratch("locked.db");
    sqlite3 *shell;
    (void)state;

    write_one(path, "m");
    assert_int_equal(sqlite3_open(path, &shell), SQLITE_OK);
    assert_int_equal(sqlite3_exec(shell, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct history *h = start(path);
    begin("s", T0 + HOUR);
    BATCH_ADD(f.builder, "later", 1);
    put(h);
    int64_t until = real_ms() + DEADLINE_MS;
    while (!stats_of(h).degraded && real_ms() < until)
        usleep(2000);
    assert_true(stats_of(h).degraded);
    sqlite3_exec(shell, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(shell);
    wait_samples(h, 1);
    history_destroy(&h);
    assert_int_equal(select_name(path, "later", 0, INT64_MAX, false).n, 1);
}

static int lines;

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_and_labels_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges_and_matchers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_limits_and_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_gives_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_labels_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_series_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_batch_ends_a_source, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retention, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_at_every_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_file_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_file_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locked_by_a_shell, setup, teardown),
    };
    fault_vfs_register();
    log_set_sink(drop_line, &lines);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
