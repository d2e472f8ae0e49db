/* PgBouncer's log, followed over everything that is done to log files, and over reloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/collect/collect_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define POLL_MS 5000
#define TIMEOUT "C-0x1: app/u@10.0.0.1:5 closing because: query_wait_timeout (age=120s)\n"
#define REFUSED "C-0x1: app/u@10.0.0.1:5 closing because: no more connections allowed (age=0s)\n"

static struct {
    char dir[64], path[96];
    struct now now;
    struct loop *loop;
    struct collect_env env;
    struct config *config;
    struct log_tail *tail;
    double counts[4]; /* timeout, refused, login_timeout, server_login */
    int batches;
    char dropped[256];
} t;

static struct now fake_clock(void *arg)
{
    (void)arg;
    return t.now;
}

static void emit(struct batch *batch, void *arg)
{
    (void)arg;
    t.batches++;
    for (size_t i = 0; i < batch->n && i < ARRAY_LEN(t.counts); i++)
        t.counts[i] = batch->samples[i].value;
    batch_unref(batch);
}

static void drop(const char *source, wall_ms at, void *arg)
{
    size_t n = strlen(t.dropped);
    (void)at;
    (void)arg;
    snprintf(t.dropped + n, sizeof(t.dropped) - n, "%s ", source);
}

static struct config *config_of(const char *more)
{
    char text[1024];
    struct diag diag;
    struct buf b;
    diag_init(&diag);
    snprintf(text, sizeof(text),
             "cluster: c\nnodes: [{name: pg1, dsn: 'host=127.0.0.1 port=1'}]\n%s", more);
    struct config *config = config_parse("t", text, strlen(text), &diag);
    if (config == NULL) {
        buf_init(&b, 4096);
        diag_print(&diag, &b);
        fail_msg("%s", b.data);
    }
    diag_deinit(&diag);
    return config;
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    memset(&t, 0, sizeof(t));
    t.now = (struct now){{1000000}, {1700000000000}};
    clock_set_source(fake_clock, NULL);
    snprintf(t.dir, sizeof(t.dir), "/tmp/pgvigil-log-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(t.path, sizeof(t.path), "%s/pgbouncer.log", t.dir);
    t.loop = loop_create("test", &err);
    t.env.opts = (struct collect_opts){.loop = t.loop,
                                       .workers = workers_create(t.loop, 2),
                                       .series = series_table_create(1000),
                                       .sources = sources_create(),
                                       .emit = emit,
                                       .drop = drop};
    t.env.builder = batch_builder_create(t.env.opts.series);
    t.config = config_of("pools: [{name: app, dsn: 'host=127.0.0.1 port=1'}]\n");
    return 0;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    log_tail_destroy(&t.tail);
    batch_builder_destroy(&t.env.builder);
    sources_destroy(&t.env.opts.sources);
    series_table_destroy(&t.env.opts.series);
    workers_destroy(&t.env.opts.workers);
    config_unref(&t.config);
    loop_destroy(&t.loop);
    clock_set_source(NULL, NULL);
    snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
    return system(command);
}

static void follow(void)
{
    struct config_log log = {.pool = "app", .path = t.path};
    t.tail = log_tail_create(&t.env, t.config, &log);
}

/* One poll. */
static void poll_log(void)
{
    int before = t.batches;
    uint64_t failed = sources_get(t.env.opts.sources, "app", "log")->failures_total;
    for (int i = 0; i < 100 && t.batches == before &&
                    sources_get(t.env.opts.sources, "app", "log")->failures_total == failed;
         i++)
        loop_run_once(t.loop, false);
    t.now.mono = mono_add(t.now.mono, POLL_MS);
    t.now.wall = wall_add(t.now.wall, POLL_MS);
}

static void write_log(const char *mode, const char *text)
{
    FILE *f = fopen(t.path, mode);
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void assert_counts(double timeout, double refused)
{
    assert_float_equal(t.counts[0], timeout, 0);
    assert_float_equal(t.counts[1], refused, 0);
}

static void judges_lines(void **state)
{
    static const struct {
        const char *line;
        int reason; /* -1: none of ours */
    } cases[] = {
        {"C-0x55: (nodb)/(nouser)@127.0.0.1:1 closing because: query_wait_timeout (age=1s)", 0},
        {"C-0x55: a/b@10.0.0.1:1 closing because: no more connections allowed (max_client_conn)",
         1},
        {"C-0x55: a/b@10.0.0.1:1 closing because: client_login_timeout (age=60s)", 2},
        {"C-0x55: a/b@10.0.0.1:1 closing because: server login has been failing, try again", 3},
        {"C-0x55: a/b@10.0.0.1:1 closing because: server login failed: FATAL no", 3},
        {"C-0x55: a/b@10.0.0.1:1 closing because: client close request (age=1s)", -1},
        {"query_wait_timeout", -1},
        {"", -1},
    };
    double wanted[4] = {0};
    (void)state;
    write_log("w", TIMEOUT); /* before the start: not ours to count */
    follow();
    poll_log();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_log("a", cases[i].line);
        write_log("a", "\n");
        if (cases[i].reason >= 0)
            wanted[cases[i].reason]++;
        poll_log();
        assert_memory_equal(t.counts, wanted, sizeof(wanted));
    }
}

static void a_line_counts_once_it_is_whole(void **state)
{
    static char filler[9000];
    (void)state;
    write_log("w", "");
    follow();
    write_log("a", "C-0x1: closing because: query_wait");
    poll_log();
    assert_counts(0, 0);
    write_log("a", "_timeout");
    poll_log();
    assert_counts(0, 0);
    write_log("a", "\n" REFUSED);
    poll_log();
    assert_counts(1, 1);
    /* a line over the limit is judged by its beginning, and the next one stands for itself */
    memset(filler, 'x', sizeof(filler) - 1);
    write_log("a", "closing because: query_wait_timeout ");
    write_log("a", filler);
    write_log("a", "closing because: no more connections allowed\n" TIMEOUT);
    poll_log();
    assert_counts(3, 1);
}

static void follows_a_rotation(void **state)
{
    char old[128];
    (void)state;
    write_log("w", "");
    follow();
    poll_log();
    snprintf(old, sizeof(old), "%s.1", t.path);
    write_log("a", TIMEOUT); /* the end of the old file, then the new one from its beginning */
    assert_int_equal(rename(t.path, old), 0);
    write_log("w", REFUSED TIMEOUT);
    poll_log();
    assert_counts(2, 1);
    write_log("a", TIMEOUT);
    poll_log();
    assert_counts(3, 1);
}

/* More than one turn reads is left in the old file when it is rotated. */
static void loses_nothing_of_a_long_old_file(void **state)
{
    char old[128];
    const int lines = 120000;
    (void)state;
    write_log("w", "");
    follow();
    poll_log();
    FILE *f = fopen(t.path, "a");
    for (int i = 0; i < lines; i++)
        fputs(TIMEOUT, f);
    fclose(f);
    snprintf(old, sizeof(old), "%s.1", t.path);
    assert_int_equal(rename(t.path, old), 0);
    write_log("w", REFUSED);
    for (int i = 0; i < 5; i++)
        poll_log();
    assert_counts(lines, 1);
}

static void follows_a_truncation(void **state)
{
    (void)state;
    write_log("w", "");
    follow();
    write_log("a", TIMEOUT TIMEOUT "a partial line, closing because: query_wait");
    poll_log();
    assert_counts(2, 0);
    write_log("w", "_timeout is no end of it\n" REFUSED); /* copytruncate */
    poll_log();
    assert_counts(2, 1);
}

static void what_cannot_be_read_gives_no_series(void **state)
{
    struct source_state *st;
    (void)state;
    follow(); /* there is no file */
    poll_log();
    st = sources_get(t.env.opts.sources, "app", "log");
    assert_int_equal(t.batches, 0);
    assert_true(st->failing);
    assert_string_equal(t.dropped, "app/log ");
    write_log("w", TIMEOUT); /* it appears: all of it is new */
    poll_log();
    assert_false(st->failing);
    assert_counts(1, 0);
    unlink(t.path);
    poll_log();
    assert_true(st->failing);
    assert_string_equal(t.dropped, "app/log app/log ");
    assert_int_equal(mkdir(t.path, 0755), 0);
    poll_log();
    assert_true(st->failing);
    assert_string_not_equal(st->error, "Success");
}

/* ---- reloads of all collectors ---- */

static void reload(struct collect *c, const char *more)
{
    config_unref(&t.config);
    t.config = config_of(more);
    t.dropped[0] = '\0';
    collect_reconfigure(c, t.config);
}

static void count_configured(const struct source_state *st, void *arg)
{
    size_t n = strlen(arg);
    if (st->configured)
        snprintf((char *)arg + n, 256 - n, "%s/%s ", st->target, st->collector);
}

static const char *configured(void)
{
    static char names[256];
    names[0] = '\0';
    sources_each(t.env.opts.sources, count_configured, names);
    return names;
}

#define NODE_SOURCES \
    "pg1/activity pg1/archiver pg1/database pg1/replication pg1/size pg1/slots pg1/standbys "

static void a_reload_ends_what_is_gone(void **state)
{
    char both[256];
    (void)state;
    snprintf(both, sizeof(both),
             "pools: [{name: app, dsn: 'host=127.0.0.1 port=1'}]\nlogs: [{pool: app, path: %s}]\n",
             t.path);
    config_unref(&t.config);
    t.config = config_of(both);
    t.env.opts.config = t.config;
    struct collect *c = collect_create(&t.env.opts);
    assert_string_equal(configured(), "app/log app/pools " NODE_SOURCES);
    reload(c, "pools: [{name: app, dsn: 'host=127.0.0.1 port=1'}]\n");
    assert_string_equal(configured(), "app/pools " NODE_SOURCES);
    assert_string_equal(t.dropped, "app/log ");
    reload(c, both);
    assert_string_equal(configured(), "app/log app/pools " NODE_SOURCES);
    reload(c, "");
    assert_string_equal(configured(), NODE_SOURCES);
    assert_string_equal(t.dropped, "app/log app/pools ");
    /* a pool with the name of its host */
    reload(c, "pools: [{name: pg1, dsn: 'host=127.0.0.1 port=1'}]\n");
    reload(c, "");
    assert_string_equal(configured(), NODE_SOURCES);
    assert_string_equal(t.dropped, "pg1/pools ");
    for (int i = 0; i < 20; i++) {
        t.now.mono = mono_add(t.now.mono, POLL_MS);
        loop_run_once(t.loop, false); /* nothing of the old is touched */
    }
    collect_destroy(&c);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(judges_lines),
        CASE(a_line_counts_once_it_is_whole),
        CASE(follows_a_rotation),
        CASE(loses_nothing_of_a_long_old_file),
        CASE(follows_a_truncation),
        CASE(what_cannot_be_read_gives_no_series),
        CASE(a_reload_ends_what_is_gone),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
