/*
 * The command line through its one entrance: words in, exit code and both outputs out. The daemon
 * is a fake for `run`, and the real HTTP side over made-up verdicts for the rest.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/cli/cli.h"
#include "pgvigil/serve/serve.h"
#include "pgvigil/store/history.h"

#define WORDS_MAX 16

static struct {
    char dir[64], config[96];
    char out[65536], errors[16384];
    struct cli_args seen;
    int daemon_runs;
} t;

static int fake_daemon(const struct cli_args *args)
{
    t.seen = *args;
    t.daemon_runs++;
    return 42;
}

static void read_back(FILE *f, char *out, size_t n)
{
    rewind(f);
    out[fread(out, 1, n - 1, f)] = '\0';
    fclose(f);
}

/* Runs the words, separated by single blanks (`~` stands for a blank inside of one). */
static int run(const char *line)
{
    char words[1024], *argv[WORDS_MAX + 1] = {NULL}, *save = NULL;
    int argc = 0;
    FILE *out = tmpfile(), *errors = tmpfile();
    str_copy(words, sizeof(words), line);
    for (char *w = strtok_r(words, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        for (char *c = strchr(w, '~'); c != NULL; c = strchr(c, '~'))
            *c = ' ';
        argv[argc++] = w;
    }
    fflush(stdout);
    fflush(stderr);
    int old_out = dup(STDOUT_FILENO), old_errors = dup(STDERR_FILENO);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(errors), STDERR_FILENO);
    t.daemon_runs = 0;
    int rc = cli_main(argc, argv, fake_daemon);
    fflush(stdout);
    fflush(stderr);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_errors, STDERR_FILENO);
    close(old_out);
    close(old_errors);
    read_back(out, t.out, sizeof(t.out));
    read_back(errors, t.errors, sizeof(t.errors));
    return rc;
}

static int runf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int runf(const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    return run(line);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    char text[1024];
    (void)state;
    memset(&t, 0, sizeof(t));
    unsetenv("PGVIGIL_URL");
    snprintf(t.dir, sizeof(t.dir), "/tmp/pgvigil-cli-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(t.config, sizeof(t.config), "%s/pgvigil.yaml", t.dir);
    snprintf(text, sizeof(text),
             "cluster: main\nlisten: 127.0.0.1:0\nstate_dir: %s\nhealth_dir: %s/health\nrules: []\n"
             "nodes:\n- {name: pg1, dsn: 'host=127.0.0.1 port=1'}\n"
             "- {name: pg2, dsn: 'host=127.0.0.1 port=2'}\n",
             t.dir, t.dir);
    write_file(t.config, text);
    return 0;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
    return system(command);
}

static void a_full_disk_is_a_failure(void **state)
{
    char words[] = "pgvigil", command[] = "grants", *argv[] = {words, command, NULL};
    (void)state;
    fflush(stdout);
    int old = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    dup2(full, STDOUT_FILENO);
    int rc = cli_main(2, argv, fake_daemon);
    __fpurge(stdout); /* what could not be written */
    clearerr(stdout);
    dup2(old, STDOUT_FILENO);
    close(old);
    close(full);
    assert_int_equal(rc, 1);
}

/* ---- words ---- */

static void words_lead_to_exit_codes(void **state)
{
    static const struct {
        const char *line;
        int rc;
        const char *out, *errors; /* part of it; NULL = nothing at all */
    } cases[] = {
        {"pgvigil", 2, NULL, "usage: pgvigil COMMAND"},
        {"pgvigil --help", 0, "check-config", NULL},
        {"pgvigil help", 0, "usage: pgvigil COMMAND", NULL},
        {"pgvigil -h", 0, "usage: pgvigil COMMAND", NULL},
        {"pgvigil --version", 0, "pgvigil " PGVIGIL_VERSION, NULL},
        {"pgvigil -V", 0, "SQLite", NULL},
        {"pgvigil rnu", 2, NULL, "unknown command 'rnu', did you mean 'run'?"},
        {"pgvigil run --help", 0, "usage: pgvigil run [--config FILE] [--once]", NULL},
        {"pgvigil query --help", 0, "--step DURATION", NULL},
        {"pgvigil status -h", 0, "-w, --watch N", NULL},
        {"pgvigil run --confg x", 2, NULL, "unknown option '--confg', did you mean '--config'?"},
        {"pgvigil run -x", 2, NULL, "unknown option '-x'"},
        {"pgvigil run --url http://x", 2, NULL, "this command has no option '--url'"},
        {"pgvigil run --once=1", 2, NULL, "this option takes no value: '--once=1'"},
        {"pgvigil run --config", 2, NULL, "a value is missing after '--config'"},
        {"pgvigil run now", 2, NULL, "usage: pgvigil run"},
        {"pgvigil query", 2, NULL, "usage: pgvigil query"},
        {"pgvigil query a b", 2, NULL, "usage: pgvigil query"},
        {"pgvigil query a b c d e f g h i j k l m", 2, NULL, "usage: pgvigil query"},
        {"pgvigil status -w 0", 2, NULL, "not a number of seconds from 1 to 3600: '0'"},
        {"pgvigil status -w x", 2, NULL, "'x'"},
        {"pgvigil status -o yaml", 2, NULL, "-o takes text or json here, not 'yaml'"},
        {"pgvigil query a -o text", 2, NULL, "-o takes table, json or csv here, not: 'text'"},
        {"pgvigil query a --time noon", 2, NULL, "--time is neither RFC 3339 nor Unix seconds"},
        {"pgvigil query a --start x", 2, NULL, "--start is neither"},
        {"pgvigil query a --end 5", 2, NULL, "a range needs: '--start'"},
        {"pgvigil query a --step 5m", 2, NULL, "a range needs: '--start'"},
        {"pgvigil query a --start 9 --end 5", 2, NULL, "--end is before --start: '5'"},
        {"pgvigil query a --start 5 --end 9 --time 7", 2, NULL, "--time is for one time"},
        {"pgvigil query a --start 5 --step 0s", 2, NULL, "--step is not a duration"},
        {"pgvigil query a --start 5 --step -5", 2, NULL, "--step is not a duration"},
        {"pgvigil query sum(", 2, NULL, "parse error"},
        {"pgvigil query -- -sum(", 2, NULL, "parse error"},
        {"pgvigil query -sum(up)", 2, NULL, "unknown option"},
        {"pgvigil health x --for reads", 2, NULL, "--for takes read or write, not 'reads'"},
        {"pgvigil grants --pg 12", 2, NULL, "--pg takes a major version from 13 to 18, not '12'"},
        {"pgvigil grants --pg 15x", 2, NULL, "'15x'"},
        {"pgvigil grants", 0, "CREATE ROLE \"pgvigil\" LOGIN CONNECTION LIMIT 10;", NULL},
        {"pgvigil grants --pg 15 --role a\"b", 0, "GRANT pg_monitor TO \"a\"\"b\"", NULL},
        {"pgvigil grants --pg 16", 0, "\nGRANT pg_use_reserved_connections TO", NULL},
        {"pgvigil grants --explain", 0, "CREATE ROLE \"pgvigil_explain\"", NULL},
        {"pgvigil check-config /nonexistent.yaml", 3, NULL, "/nonexistent.yaml"},
        {"pgvigil status --config /nonexistent.yaml", 3, NULL, "/nonexistent.yaml"},
        {"pgvigil status --url http://127.0.0.1:1", 4, NULL, "the daemon does not answer"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = run(cases[i].line);
        if (rc != cases[i].rc)
            fail_msg("%s: exit %d: %s%s", cases[i].line, rc, t.out, t.errors);
        if (cases[i].out == NULL ? *t.out != '\0' : strstr(t.out, cases[i].out) == NULL)
            fail_msg("%s: stdout: %s", cases[i].line, t.out);
        if (cases[i].errors == NULL ? *t.errors != '\0' : strstr(t.errors, cases[i].errors) == NULL)
            fail_msg("%s: stderr: %s", cases[i].line, t.errors);
    }
}

static void options_reach_the_daemon(void **state)
{
    static const struct {
        const char *line, *config;
        bool once, verbose;
    } cases[] = {
        {"pgvigil run", NULL, false, false},
        {"pgvigil run --config a.yaml", "a.yaml", false, false},
        {"pgvigil run --config=a.yaml --once", "a.yaml", true, false},
        {"pgvigil run -c a.yaml -v", "a.yaml", false, true},
        {"pgvigil run -ca.yaml --verbose --once", "a.yaml", true, true},
        {"pgvigil run --config a --config b", "b", false, false},
        {"pgvigil run --config --once", "--once", false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(run(cases[i].line), 42);
        assert_int_equal(t.daemon_runs, 1);
        if (cases[i].config == NULL)
            assert_null(t.seen.config);
        else
            assert_string_equal(t.seen.config, cases[i].config);
        assert_int_equal(t.seen.once, cases[i].once);
        assert_int_equal(t.seen.verbose, cases[i].verbose);
    }
    run("pgvigil run --help --once");
    assert_int_equal(t.daemon_runs, 0);
}

/* ---- check-config ---- */

static void check_config_tells_all_findings(void **state)
{
    char text[512], rules[96];
    (void)state;
    assert_int_equal(runf("pgvigil check-config %s", t.config), 0);
    assert_non_null(strstr(t.out, "ok: 2 nodes, 0 pools, 0 alerting and 0 recording rules"));
    assert_string_equal(t.errors, "");
    assert_int_equal(runf("pgvigil check-config --config %s", t.config), 0);
    write_file(t.config, "lisen: 127.0.0.1:0\nevaluation_interval: 5\n");
    assert_int_equal(runf("pgvigil check-config %s", t.config), 3);
    assert_non_null(strstr(t.errors, "pgvigil.yaml:1:1: "));
    assert_non_null(strstr(t.errors, "'listen'"));
    assert_non_null(strstr(t.errors, "pgvigil.yaml:2:22: "));
    assert_string_equal(t.out, "");
    snprintf(rules, sizeof(rules), "%s/r.yml", t.dir);
    write_file(rules, "groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]\n");
    snprintf(text, sizeof(text),
             "nodes: [{name: a, dsn: 'host=127.0.0.1'}]\nrules: ['%s']\nstate_dir: %s\n", rules,
             t.dir);
    write_file(t.config, text);
    assert_int_equal(runf("pgvigil check-config %s", t.config), 3);
    assert_non_null(strstr(t.errors, "r.yml:1:"));
}

/* ---- health ---- */

static void put_health(const char *name, const char *fmt, long long until)
{
    char path[128], line[256];
    snprintf(path, sizeof(path), "%s/health", t.dir);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/health/%s", t.dir, name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(line, sizeof(line), fmt, until);
#pragma GCC diagnostic pop
    write_file(path, line);
}

static void health_believes_a_file_for_its_lease(void **state)
{
    long long now = clock_read().wall.ms / 1000;
    (void)state;
    assert_int_equal(runf("pgvigil health pg3 --config %s", t.config), 2);
    assert_non_null(strstr(t.errors, "no node 'pg3'"));
    assert_int_equal(runf("pgvigil health pg1 --config %s", t.config), 1);
    assert_non_null(strstr(t.out, "pg1 may not take reads: it has no health file"));
    put_health("pg1.read", "up  70%% lag=1.50s until=%lld reason=lag     \n", now + 10);
    assert_int_equal(runf("pgvigil health pg1 --config %s", t.config), 0);
    assert_non_null(strstr(t.out, "pg1 may take reads: up  70% lag=1.50s"));
    assert_int_equal(runf("pgvigil health pg1 --for read --config %s", t.config), 0);
    put_health("pg1.read", "up  70%% lag=1.50s until=%lld reason=lag\n", now - 1);
    assert_int_equal(runf("pgvigil health pg1 --config %s", t.config), 1);
    assert_non_null(strstr(t.out, "lease of its health file has run out"));
    static const char *const damaged[] = {
        "", "up", "down until=%lld", "up until=", "up until=x%lld", "up until=-%lld"};
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        put_health("pg1.read", damaged[i], now + 10);
        assert_int_equal(runf("pgvigil health pg1 --config %s", t.config), 1);
        assert_non_null(strstr(t.out, "damaged"));
    }
    /* without gate.write there is no file for writes: the daemon is asked, and is not there */
    assert_int_equal(runf("pgvigil health pg1 --for write --config %s", t.config), 4);
}

/* ---- status: the HTTP side over made-up verdicts ---- */

struct daemon {
    struct board *board;
    struct snapshots *snapshots;
    struct alert_board *alerts;
    struct config *config;
    struct serve *serve;
    char url[64];
};

static void start_daemon(struct daemon *d)
{
    struct diag diag;
    struct err err;
    char socket[128];
    diag_init(&diag);
    d->config = config_load(t.config, &diag);
    assert_non_null(d->config);
    diag_deinit(&diag);
    d->board = board_create();
    d->snapshots = snapshots_create();
    d->alerts = alert_board_create();
    snprintf(socket, sizeof(socket), "%s/api.sock", t.dir);
    d->serve = serve_create(&(struct serve_opts){.config = d->config,
                                                 .board = d->board,
                                                 .snapshots = d->snapshots,
                                                 .alerts = d->alerts,
                                                 .api_socket = socket},
                            &err);
    assert_non_null(d->serve);
    snprintf(d->url, sizeof(d->url), "http://127.0.0.1:%d", serve_port(d->serve));
}

static void stop_daemon(struct daemon *d)
{
    serve_destroy(&d->serve);
    board_destroy(&d->board);
    snapshots_destroy(&d->snapshots);
    alert_board_destroy(&d->alerts);
    config_unref(&d->config);
}

static void publish(struct daemon *d, bool second_up)
{
    struct verdict one = {.node = "pg1",
                          .role = ROLE_PRIMARY,
                          .up = true,
                          .write = true,
                          .local = true,
                          .lag_ms = LAG_UNKNOWN,
                          .read_at = {1700000000000}};
    struct verdict two = one;
    str_copy(two.node, sizeof(two.node), "pg2");
    two.role = ROLE_REPLICA;
    two.state = FRESH_FRESH;
    two.up = two.read = second_up;
    two.write = two.local = false;
    two.lag_ms = 1230;
    struct cluster_verdict c = {.cluster = "main", .judged = true};
    const struct verdict *nodes[] = {&one, &two};
    const struct cluster_verdict *clusters[] = {&c};
    board_publish(d->board, nodes, 2, clusters, 1, clock_read());
}

static void publish_alert(struct daemon *d, const char *severity)
{
    const struct label labels[] = {{"alertname", "Lag"}, {"severity", severity}};
    const struct label annotations[] = {{"summary", "it is late"}};
    struct alert a = {.state = ALERT_FIRING,
                      .labels = {2, labels},
                      .annotations = {1, annotations},
                      .active_at = {1700000000000},
                      .value = 5};
    struct alert_list *list = alert_list_create(clock_read().wall, 1);
    list->alerts[0] = alert_copy(&a);
    alert_board_put(d->alerts, list);
}

static void status_tells_the_verdict_first(void **state)
{
    struct daemon d;
    (void)state;
    assert_int_equal(runf("pgvigil status --config %s", t.config), 4);
    start_daemon(&d);
    publish(&d, true);
    assert_int_equal(runf("pgvigil status --config %s", t.config), 0);
    assert_true(str_starts(t.out, "OK: all 2 nodes answer, nothing fires\n"));
    assert_non_null(strstr(t.out, "1.23s"));
    assert_null(strchr(t.out, '\033')); /* no terminal, no colour */
    publish_alert(&d, "none");          /* Watchdog: nothing is wrong when it fires */
    assert_int_equal(runf("pgvigil status --config %s", t.config), 0);
    assert_true(str_starts(t.out, "OK: all 2 nodes answer, nothing fires\n"));
    assert_null(strstr(t.out, "it is late"));
    publish_alert(&d, "warning");
    assert_int_equal(runf("pgvigil status --url %s/", d.url), 0);
    assert_true(str_starts(t.out, "LOOK: 1 alerts firing"));
    assert_non_null(strstr(t.out, "it is late"));
    setenv("PGVIGIL_URL", d.url, 1);
    publish_alert(&d, "critical");
    assert_int_equal(run("pgvigil status"), 0);
    assert_true(str_starts(t.out, "TROUBLE: 1 critical of 1 firing alerts, 0 of 2 nodes down"));
    publish(&d, false);
    assert_int_equal(run("pgvigil status -o json"), 0);
    assert_non_null(strstr(t.out, "\"schema\": \"pgvigil.status/1\""));
    unsetenv("PGVIGIL_URL");
    assert_int_equal(runf("pgvigil health pg1 --for write --config %s", t.config), 0);
    assert_string_equal(t.out, "pg1 may take writes\n");
    assert_int_equal(runf("pgvigil health pg2 --for write --config %s", t.config), 1);
    stop_daemon(&d);
    char socket[128];
    snprintf(socket, sizeof(socket), "%s/api.sock", t.dir);
    assert_int_not_equal(access(socket, F_OK), 0);
}

/* ---- query ---- */

static void put_history(int64_t t0)
{
    static const char *const none[] = {NULL};
    char path[128];
    snprintf(path, sizeof(path), "%s/history.db", t.dir);
    struct history *h = history_create(&(struct history_opts){
        .path = path, .retention_ms = INT64_C(86400000) * 365 * 100, .max_size_bytes = 1 << 30});
    struct series_table *series = series_table_create(10);
    struct batch_builder *builder = batch_builder_create(series);
    for (int i = 0; i < 3; i++) {
        batch_begin(builder, "pg1/x", (wall_ms){t0 + i * 60000}, none);
        BATCH_ADD(builder, "m", i + 0.5, "node", "a\"b");
        struct batch *b = batch_finish(builder);
        history_put(h, b);
        batch_unref(b);
    }
    history_destroy(&h);
    batch_builder_destroy(&builder);
    series_table_destroy(&series);
}

static void query_reads_the_history_file(void **state)
{
    static const int64_t t0 = INT64_C(1700000000000);
    static const struct {
        const char *words, *out;
    } cases[] = {
        {"m --time 1700000060",
         "m{instance=\"127.0.0.1:0\",job=\"pgvigil\",node=\"a\\\"b\"}  1.5\n"},
        {"m --time 2023-11-14T22:14:20Z -o csv",
         "time,__name__,instance,job,node,value\n"
         "2023-11-14T22:14:20.000Z,m,127.0.0.1:0,pgvigil,\"a\"\"b\",1.5\n"},
        {"m --time 1700000060.25 -o json",
         "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{"
         "\"__name__\":\"m\",\"instance\":\"127.0.0.1:0\",\"job\":\"pgvigil\",\"node\":\"a\\\"b\"},"
         "\"value\":[1700000060.250,\"1.5\"]}]}}\n"},
        {"-o json --start 1700000000 --end 1700000120 --step 1m m",
         "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{"
         "\"__name__\":\"m\",\"instance\":\"127.0.0.1:0\",\"job\":\"pgvigil\",\"node\":\"a\\\"b\"},"
         "\"values\":[[1700000000,\"0.5\"],"
         "[1700000060,\"1.5\"],[1700000120,\"2.5\"]]}]}}\n"},
        {"--time 1700000060 -o json -- -m",
         "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{"
         "\"instance\":\"127.0.0.1:0\",\"job\":\"pgvigil\",\"node\":\"a\\\"b\"},\"value\":["
         "1700000060,\"-1.5\"]}]}}\n"},
        {"1+1 --time 5 -o json",
         "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[5,\"2\"]}}\n"},
        {"none --time 1700000060", ""},
        {"none --time 1700000060 -o json",
         "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}\n"},
    };
    (void)state;
    assert_int_equal(runf("pgvigil query m --config %s", t.config), 1);
    assert_non_null(strstr(t.errors, "history.db"));
    put_history(t0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = runf("pgvigil query --config %s %s", t.config, cases[i].words);
        if (rc != 0)
            fail_msg("%s: exit %d: %s", cases[i].words, rc, t.errors);
        if (!str_eq(t.out, cases[i].out))
            fail_msg("%s: %s", cases[i].words, t.out);
    }
    assert_int_equal(runf("pgvigil query --config %s m*on()m --time 5", t.config), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_full_disk_is_a_failure),
        CASE(words_lead_to_exit_codes),
        CASE(options_reach_the_daemon),
        CASE(check_config_tells_all_findings),
        CASE(health_believes_a_file_for_its_lease),
        CASE(status_tells_the_verdict_first),
        CASE(query_reads_the_history_file),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
