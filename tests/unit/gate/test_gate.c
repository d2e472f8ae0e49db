/*
 * The gate's thread without any PostgreSQL: it ticks, holds, publishes, reports, takes a new
 * configuration and ends, with nodes that refuse and names whose resolver hangs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "gate/scratch.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/resolve.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/gate.h"
#include "pgvigil/pg/conn.h"

#define PATIENCE_MS 8000
#define RING_SLOTS  4096

struct fixture {
    char *dir, *health;
    struct lease_page *page;
    struct board *board;
    struct ring *ring;
    _Atomic uint64_t wakes;
    struct gate *gate;
};

static void be_silent(enum log_level level, const char *line, void *arg)
{
    (void)level;
    (void)line;
    (void)arg;
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;
    log_set_sink(be_silent, NULL);
    f->dir = scratch_make();
    f->health = mem_printf("%s/health", f->dir);
    f->page = lease_start(f->health, &err);
    f->board = board_create();
    f->ring = ring_create(RING_SLOTS, sizeof(struct gate_report));
    *state = f;
    return f->page ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pid_t guardian = lease_guardian_pid(f->page);
    kill(guardian, SIGKILL);
    waitpid(guardian, NULL, 0);
    lease_close(&f->page);
    board_destroy(&f->board);
    struct gate_report r;
    while (ring_get(f->ring, &r)) {
        struct config *old = r.kind == GATE_REPORT_CONFIG ? r.u.config : NULL;
        config_unref(&old);
    }
    ring_destroy(&f->ring);
    scratch_remove(&f->dir);
    mem_free(f->health);
    mem_free(f);
    log_set_sink(NULL, NULL);
    return 0;
}

/* nodes: the lines of the list. Nothing listens on the ports used here. */
static struct config *config_of(const struct fixture *f, const char *nodes, const char *gate)
{
    char *text = mem_printf("cluster: main\n"
                            "scope: cluster\n"
                            "state_dir: %s\n"
                            "health_dir: %s\n"
                            "intervals: {replication: 100ms}\n"
                            "gate: {lease: 2s, probe_timeout: 1s%s}\n"
                            "nodes:\n%s",
                            f->dir, f->health, gate, nodes);
    struct diag diag;
    diag_init(&diag);
    struct config *config = config_parse("test.yaml", text, strlen(text), &diag);
    if (!config)
        fail_msg("%s", diag.count ? diag.entries[0].text : "no configuration");
    diag_deinit(&diag);
    mem_free(text);
    return config;
}

#define NODE(name)       "  - {name: " name ", dsn: \"host=127.0.0.1 port=9 dbname=x user=x\"}\n"
#define NAMED_NODE(name) "  - {name: " name ", dsn: \"host=" name ".invalid dbname=x user=x\"}\n"

static void on_report(void *arg)
{
    struct fixture *f = arg;
    f->wakes++;
}

static void gate_up(struct fixture *f, struct config *config, const struct gate_image *image)
{
    struct gate_opts opts = {.config = config,
                             .image = image,
                             .page = f->page,
                             .board = f->board,
                             .reports = f->ring,
                             .on_report = on_report,
                             .arg = f};
    struct err err = {0};
    f->gate = gate_create(&opts, &err);
    if (!f->gate)
        fail_msg("%s", err.text);
}

/* A run of the gate that knows pg1 as a fresh replica that was published. */
static struct gate_image image_of(const char *node, int64_t lease_ms)
{
    wall_ms now = clock_read().wall;
    struct gate_image image = {.nodes = mem_alloc(sizeof(*image.nodes)), .node_count = 1};
    image.nodes[0] = (struct gate_node_state){.role = ROLE_REPLICA,
                                              .state = FRESH_FRESH,
                                              .read = true,
                                              .weight = 100,
                                              .since = now,
                                              .lease_until = wall_add(now, lease_ms),
                                              .last_return = WALL_UNSET,
                                              .saved_at = now};
    str_copy(image.nodes[0].cluster, NODE_NAME_MAX, "main");
    str_copy(image.nodes[0].node, NODE_NAME_MAX, node);
    str_copy(image.nodes[0].reason, REASON_MAX, "ok");
    return image;
}

/* Takes reports until one of the kind (and node, unless NULL) comes. */
static bool next_report(struct fixture *f, enum gate_report_kind kind, const char *node,
                        struct gate_report *out)
{
    while (ring_get(f->ring, out)) {
        if (out->kind != kind)
            continue;
        if (!node || (kind == GATE_REPORT_NODE && str_eq(out->u.node.verdict.node, node)) ||
            (kind == GATE_REPORT_STATE && str_eq(out->u.state.node, node)))
            return true;
    }
    return false;
}

static bool ticked_after(const struct fixture *f, mono_ms t)
{
    mono_ms at = board_ticked_at(f->board).mono;
    return mono_is_set(at) && mono_before(t, at);
}

#define WAIT_TICK(f)                                                   \
    do {                                                               \
        mono_ms since_ = clock_read().mono;                            \
        assert_true(WAIT_FOR(ticked_after((f), since_), PATIENCE_MS)); \
    } while (0)

static void gate_down(struct fixture *f, bool keep_files)
{
    int64_t began = clock_read().mono.ms;
    gate_destroy(&f->gate, keep_files);
    assert_null(f->gate);
    assert_true(clock_read().mono.ms - began < 2000);
}

/* ---- ticks and reports ---- */

static void test_unreachable(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), "");
    gate_up(f, config, NULL);
    struct gate_report r;
    assert_true(WAIT_FOR(next_report(f, GATE_REPORT_NODE, "pg2", &r) &&
                             r.u.node.probe.consecutive_failures > 3,
                         PATIENCE_MS));
    assert_string_equal(r.u.node.probe.failure, pg_failure_name(PG_FAIL_CONNECT));
    assert_string_not_equal(r.u.node.probe.error, "");
    assert_false(r.u.node.verdict.read);
    assert_false(r.u.node.verdict.up);
    assert_true(WAIT_FOR(next_report(f, GATE_REPORT_CLUSTER, NULL, &r), PATIENCE_MS));
    assert_true(r.u.cluster.blind);
    assert_string_equal(r.u.cluster.cluster, "main");
    assert_true(WAIT_FOR(next_report(f, GATE_REPORT_STATE, NULL, &r), PATIENCE_MS) || f->wakes > 0);
    struct verdict *nodes;
    assert_int_equal(board_nodes(f->board, &nodes), 2);
    assert_string_equal(nodes[0].node, "pg1");
    mem_free(nodes);
    struct gate_stats stats;
    gate_stats(f->gate, &stats);
    assert_true(stats.files_ok);
    assert_int_equal(stats.reports_lost, 0);
    assert_true(hist_count(stats.lateness) > 0);
    assert_true(gate_thread_id(f->gate) > 0 && gate_thread_id(f->gate) != getpid());
    assert_false(scratch_has(f->health, "pg1.read"));
    gate_down(f, false);
    config_unref(&config);
}

/* A second resolver's worth of hanging: the gate has ended before it comes back. */
static _Atomic bool resolver_hangs;

static bool hang(const char *host, struct resolve_answer *out, struct err *err, void *arg)
{
    (void)arg;
    (void)out;
    while (resolver_hangs)
        nap_ms(10);
    return err_set(err, ERR_NET, "cannot resolve '%s'", host);
}

static void test_hanging_resolver(void **state)
{
    struct fixture *f = *state;
    struct config *config =
        config_of(f, NAMED_NODE("a") NAMED_NODE("b") NAMED_NODE("c") NODE("d"), "");
    resolver_hangs = true;
    resolve_set_source(hang, NULL);
    gate_up(f, config, NULL);
    int64_t began = clock_read().mono.ms;
    for (int i = 0; i < 10; i++)
        WAIT_TICK(f);
    assert_true(clock_read().mono.ms - began < 5000);
    struct gate_report r;
    assert_true(next_report(f, GATE_REPORT_NODE, "a", &r));
    assert_false(r.u.node.probe.answered);
    gate_down(f, false);
    resolver_hangs = false;
    /* The workers that were left behind use the replaced resolver until they see it. */
    nap_ms(50);
    resolve_set_source(NULL, NULL);
    config_unref(&config);
}

static void test_full_ring(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1"), "");
    struct gate_report filler = {.kind = GATE_REPORT_CLUSTER};
    while (ring_put(f->ring, &filler))
        ;
    gate_up(f, config, NULL);
    struct gate_stats stats;
    assert_true(WAIT_FOR((gate_stats(f->gate, &stats), stats.reports_lost > 5), PATIENCE_MS));
    WAIT_TICK(f);
    gate_down(f, false);
    config_unref(&config);
}

/* ---- files ---- */

/* What the last run left in the directory. */
static void leave_file(const struct fixture *f, const char *name, int64_t lease_ms)
{
    char path[600], line[129];
    snprintf(path, sizeof(path), "%s/%s", f->health, name);
    snprintf(line, sizeof(line), "up 100%% lag=0.0 until=%lld reason=ok",
             (long long)((clock_read().wall.ms + lease_ms) / 1000));
    mkdir(f->health, 0755);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "%-127s\n", line);
    fclose(file);
}

static int64_t until_of(const struct fixture *f, const char *name)
{
    char line[160];
    scratch_read(f->health, name, line, sizeof(line));
    const char *at = strstr(line, "until=");
    return at ? strtoll(at + 6, NULL, 10) : 0;
}

/* Nobody answers: what the last run published is held, and its lease renewed. */
static void test_restored_is_held(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), "");
    struct gate_image image = image_of("pg1", 2000);
    leave_file(f, "pg1.read", 2000);
    leave_file(f, "pg2.read", 2000);
    gate_up(f, config, &image);
    gate_image_free(&image);
    assert_true(scratch_has(f->health, "pg1.read"));
    assert_false(scratch_has(f->health, "pg2.read"));
    int64_t first = until_of(f, "pg1.read");
    assert_true(WAIT_FOR(
        (assert_true(scratch_has(f->health, "pg1.read")), until_of(f, "pg1.read") > first + 2),
        PATIENCE_MS));
    struct gate_report r;
    while (next_report(f, GATE_REPORT_FLIP, NULL, &r))
        assert_string_not_equal(r.u.flip.node, "pg1");
    gate_down(f, true);
    int64_t left = until_of(f, "pg1.read") - clock_read().wall.ms / 1000;
    assert_in_range(left, 27, 30);
    assert_true(
        WAIT_FOR(next_report(f, GATE_REPORT_STATE, "pg1", &r) && r.u.state.read, PATIENCE_MS));
    config_unref(&config);
}

static void test_lapsed_is_not_restored(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), "");
    struct gate_image image = image_of("pg1", -60000);
    leave_file(f, "pg1.read", 5000);
    gate_up(f, config, &image);
    gate_image_free(&image);
    WAIT_TICK(f);
    assert_false(scratch_has(f->health, "pg1.read"));
    gate_down(f, true);
    assert_false(scratch_has(f->health, "pg1.read"));
    config_unref(&config);
}

static void test_stop_removes(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), "");
    struct gate_image image = image_of("pg1", 2000);
    gate_up(f, config, &image);
    gate_image_free(&image);
    assert_true(WAIT_FOR(scratch_has(f->health, "pg1.read"), PATIENCE_MS));
    gate_down(f, false);
    assert_false(scratch_has(f->health, "pg1.read"));
    config_unref(&config);
}

static void test_dry_run(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), ", dry_run: true");
    struct gate_image image = image_of("pg1", 2000);
    gate_up(f, config, &image);
    gate_image_free(&image);
    WAIT_TICK(f);
    WAIT_TICK(f);
    assert_false(scratch_has(f->dir, "health"));
    struct verdict *nodes;
    assert_int_equal(board_nodes(f->board, &nodes), 2);
    assert_true(nodes[0].read);
    mem_free(nodes);
    gate_down(f, true);
    config_unref(&config);
}

static bool files_ok(const struct fixture *f)
{
    struct gate_stats stats;
    gate_stats(f->gate, &stats);
    return stats.files_ok;
}

/* Unusable at start, usable, gone, there again. */
static void test_directory_faults(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), "");
    struct gate_image image = image_of("pg1", 2000);
    assert_int_equal(symlink("/tmp", f->health), 0);
    gate_up(f, config, &image);
    gate_image_free(&image);
    assert_false(files_ok(f));
    WAIT_TICK(f);
    assert_false(files_ok(f));
    assert_int_equal(unlink(f->health), 0);
    assert_true(WAIT_FOR(files_ok(f) && scratch_has(f->health, "pg1.read"), PATIENCE_MS));
    scratch_empty(f->health);
    rmdir(f->health);
    assert_true(WAIT_FOR(!files_ok(f) || scratch_has(f->health, "pg1.read"), PATIENCE_MS));
    assert_true(WAIT_FOR(files_ok(f) && scratch_has(f->health, "pg1.read"), PATIENCE_MS));
    gate_down(f, false);
    config_unref(&config);
}

/* ---- configurations ---- */

static void test_reconfigure(void **state)
{
    struct fixture *f = *state;
    struct config *first = config_of(f, NODE("pg1") NODE("pg2"), "");
    struct gate_image image = image_of("pg1", 2000);
    gate_up(f, first, &image);
    gate_image_free(&image);
    assert_true(WAIT_FOR(scratch_has(f->health, "pg1.read"), PATIENCE_MS));

    /* One that is replaced before it is seen, or seen: either way each comes back once. */
    struct config *second = config_of(f, NODE("pg3") NODE("pg1"), "");
    gate_reconfigure(f->gate, second);
    struct gate_report r;
    assert_true(WAIT_FOR(next_report(f, GATE_REPORT_CONFIG, NULL, &r), PATIENCE_MS));
    assert_ptr_equal(r.u.config, first);
    struct config *old = r.u.config;
    config_unref(&old);
    WAIT_TICK(f);
    struct verdict *nodes;
    assert_int_equal(board_nodes(f->board, &nodes), 2);
    assert_string_equal(nodes[0].node, "pg3");
    assert_string_equal(nodes[1].node, "pg1");
    assert_true(nodes[1].read);
    mem_free(nodes);
    assert_true(scratch_has(f->health, "pg1.read"));

    struct config *third = config_of(f, NODE("pg3") NODE("pg4"), "");
    gate_reconfigure(f->gate, third);
    assert_true(WAIT_FOR(next_report(f, GATE_REPORT_CONFIG, NULL, &r), PATIENCE_MS));
    assert_ptr_equal(r.u.config, second);
    old = r.u.config;
    config_unref(&old);
    assert_false(scratch_has(f->health, "pg1.read"));
    for (int i = 0; i < 20; i++)
        gate_reconfigure(f->gate, i % 2 ? second : third);
    WAIT_TICK(f);
    gate_down(f, false);
    config_unref(&first);
    config_unref(&second);
    config_unref(&third);
}

/* ---- standing still ---- */

/* An agent in a process of its own, so that it can be stopped as a whole. */
static void agent_main(struct fixture *f, struct config *config, const struct gate_image *image)
{
    struct err err;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing running */
    f->page = lease_start(f->health, &err);
    gate_up(f, config, image);
    for (;;) {
        struct gate_report r;
        while (ring_get(f->ring, &r))
            if (r.kind == GATE_REPORT_FLIP)
                _exit(3);
        nap_ms(20);
    }
}

static void test_frozen_and_continued(void **state)
{
    struct fixture *f = *state;
    struct config *config = config_of(f, NODE("pg1") NODE("pg2"), "");
    struct gate_image image = image_of("pg1", 2000);
    pid_t agent = fork();
    if (agent == 0)
        agent_main(f, config, &image);
    gate_image_free(&image);
    int status;
    assert_true(WAIT_FOR(scratch_has(f->health, "pg1.read"), PATIENCE_MS));
    kill(agent, SIGSTOP);
    assert_int_equal(waitpid(agent, &status, WUNTRACED), agent);
    assert_true(WIFSTOPPED(status));
    assert_true(WAIT_FOR(!scratch_has(f->health, "pg1.read"), 2000 + 1500));
    int64_t continued_at = clock_read().mono.ms;
    kill(agent, SIGCONT);
    assert_true(WAIT_FOR(scratch_has(f->health, "pg1.read"), 3 * 100 + 500));
    /* Its lease had run out: two ticks must look first. */
    assert_true(clock_read().mono.ms - continued_at >= 90);
    kill(agent, SIGKILL);
    assert_int_equal(waitpid(agent, &status, 0), agent);
    /* Not by its own exit: it had seen no flip. */
    assert_true(WIFSIGNALED(status));
    assert_true(WAIT_FOR(!scratch_has(f->health, "pg1.read"), 2000 + 1500));
    config_unref(&config);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "guardian") == 0)
        return lease_guardian_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frozen_and_continued, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreachable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hanging_resolver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_ring, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restored_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lapsed_is_not_restored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_removes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dry_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reconfigure, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
